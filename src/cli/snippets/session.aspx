<%@ Page Language="C#" EnableSessionState="false" ContentType="text/plain" ResponseEncoding="utf-8" %>
<%@ Import Namespace="System.Collections.Generic" %>
<%@ Import Namespace="System.Text.RegularExpressions" %>
<script runat="server">
    // Sessions of Cloakroom in ASP.NET. EnableSessionState="false": neither its Session nor ASP.NET_SessionId is used.
    // Commands must be given before the response is flushed.

    // "a=1&b=two%20words" as pairs.
    static List<KeyValuePair<string, string>> Pairs(string header) {
        var pairs = new List<KeyValuePair<string, string>>();
        foreach (string item in Regex.Split(header ?? "", "[&,]\\s*")) {
            if (item == "") continue;
            string[] pair = item.Split(new[] { '=' }, 2);
            string value = pair.Length < 2 ? "" : Uri.UnescapeDataString(pair[1]);
            pairs.Add(new KeyValuePair<string, string>(pair[0], value));
        }
        return pairs;
    }

    // All data of the session.
    Dictionary<string, string> SessionData() {
        var data = new Dictionary<string, string>();
        foreach (var pair in Pairs(Request.Headers["X-Session-Data"])) data[pair.Key] = pair.Value;
        return data;
    }

    // none, live, expired or invalid; who logged in; messages for this page, whose further fields follow a ";".
    string SessionState() { return Request.Headers["X-Session-State"] ?? "none"; }
    string SessionUser() { return Uri.UnescapeDataString(Request.Headers["X-Session-User"] ?? ""); }
    List<KeyValuePair<string, string>> SessionFlashes() {
        return Pairs(Regex.Replace(Request.Headers["X-Session-Flashes"] ?? "", ";[^&,]*", ""));
    }

    void Command(string name, string value) { Response.AddHeader("X-Session-" + name, value); }
    void SessionSet(string key, string value) { Command("Set", key + "=" + Uri.EscapeDataString(value)); }
    void SessionAdd(string key, long number) { Command("Add", key + "=" + number); }         // counted by the proxy
    void SessionUnset(params string[] keys) { Command("Unset", string.Join("&", keys)); }    // "*" drops everything
    void SessionLogin(string user) { Command("Login", Uri.EscapeDataString(user)); }         // a new id
    void SessionDestroy(string scope) { Command("Destroy", scope); }                         // "1", "others" or "all"
    void SessionFlash(string level, string text) { Command("Flash", level + "=" + Uri.EscapeDataString(text)); }

    // ---- A page that uses it ---------------------------------------------------------------------------------------
    protected void Page_Load(object sender, EventArgs e) {
        var data = SessionData();
        string name;
        SessionAdd("visits", 1);
        if (!data.TryGetValue("name", out name)) name = "caf\u00e9 \u20ac 100%";              // any text: it is encoded
        SessionSet("seen", name);
        if (SessionState() == "none") SessionFlash("info", "Welcome.");

        Response.Write("state: " + SessionState() + "\nuser: " + SessionUser() + "\n");
        foreach (var pair in data) Response.Write(pair.Key + ": " + pair.Value + "\n");
        foreach (var flash in SessionFlashes()) Response.Write("[" + flash.Key + "] " + flash.Value + "\n");
        Response.End();
    }
</script>
