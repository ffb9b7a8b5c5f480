<%@ Language="VBScript" CodePage="65001" %>
<%
' Sessions of Cloakroom in classic ASP. Neither the Session object nor ASPSESSIONID is used: switch it off with
' EnableSessionState=False in the first line, or in IIS. Save this file as UTF-8.
'
' Commands must be given before the first Response.Write, unless buffering is on, as here.
Option Explicit
Response.Buffer = True
Response.Charset = "utf-8"
Response.ContentType = "text/plain"
%>
<script runat="server" language="JScript">
// VBScript has no decoder for UTF-8; JScript has.
function SessionDecode(text) { return decodeURIComponent(String(text).replace(/\+/g, "%2B")); }
function SessionEncode(text) { return encodeURIComponent(String(text)); }

// One key of the data, or one word of a list: "a=1&b=two%20words".
function SessionPick(header, key) {
    var items = String(header).split(/[&,]\s*/);
    for (var i = 0; i < items.length; i++) {
        if (items[i].indexOf(key + "=") === 0) { return SessionDecode(items[i].substring(key.length + 1)); }
    }
    return "";
}

// Messages for this page, one a line; what follows a ";" are further fields of the message.
function SessionMessages(header) {
    var items = String(header).split(/[&,]\s*/), lines = [];
    for (var i = 0; i < items.length; i++) {
        var pair = items[i].split(";")[0].split("=");
        if (pair.length === 2) { lines.push("[" + pair[0] + "] " + SessionDecode(pair[1])); }
    }
    return lines.join("\n");
}
</script>
<%
Function SessionHeader(name)
    SessionHeader = Request.ServerVariables("HTTP_X_SESSION_" & name)
End Function

Function SessionData(key)                       ' one key of the session, or ""
    SessionData = SessionPick(SessionHeader("DATA"), key)
End Function

Function SessionState()                         ' none, live, expired, invalid
    SessionState = SessionHeader("STATE")
End Function

Function SessionUser()                          ' who logged in, or ""
    SessionUser = SessionDecode(SessionHeader("USER"))
End Function

Sub SessionSet(key, value)
    Response.AddHeader "X-Session-Set", key & "=" & SessionEncode(value)
End Sub

Sub SessionAdd(key, number)                     ' counted by the proxy: no update is lost
    Response.AddHeader "X-Session-Add", key & "=" & CLng(number)
End Sub

Sub SessionUnset(keys)                          ' "a&b"; "*" drops everything
    Response.AddHeader "X-Session-Unset", keys
End Sub

Sub SessionLogin(user)                          ' a new id, and the old one is dead
    Response.AddHeader "X-Session-Login", SessionEncode(user)
End Sub

Sub SessionDestroy(scope)                       ' "1" this session, "others", "all" of this user
    Response.AddHeader "X-Session-Destroy", scope
End Sub

Sub SessionFlash(level, text)                   ' shown by the next page
    Response.AddHeader "X-Session-Flash", level & "=" & SessionEncode(text)
End Sub

' ---- A page that uses it ---------------------------------------------------------------------------------------------
SessionAdd "visits", 1
SessionSet "seen", SessionData("name")          ' any text: it is encoded
If SessionState() = "none" Then SessionFlash "info", "Welcome."

Response.Write "state: " & SessionState() & vbLf & "user: " & SessionUser() & vbLf
Response.Write "name: " & SessionData("name") & vbLf & SessionMessages(SessionHeader("FLASHES")) & vbLf
%>
