<%--
  Sessions of Cloakroom in a JSP. session="false": neither the implicit session nor JSESSIONID is used.

  Commands must be given before the page is committed, that is before more than its buffer has been written: keep them
  at the top. Never put raw text into a header: Tomcat drops such a header with a warning in its log.
--%><%@ page session="false" buffer="32kb" contentType="text/plain; charset=UTF-8" pageEncoding="UTF-8"
    import="java.net.URLDecoder, java.net.URLEncoder, java.util.*" trimDirectiveWhitespaces="true" %>
<%!
    static String decode(String text) throws java.io.UnsupportedEncodingException {
        return URLDecoder.decode(text.replace("+", "%2B"), "UTF-8");
    }

    static String encode(String text) throws java.io.UnsupportedEncodingException {
        return URLEncoder.encode(text, "UTF-8").replace("+", "%20");
    }

    static String header(HttpServletRequest request, String name) {
        String value = request.getHeader(name);
        return value == null ? "" : value;
    }

    // "a=1&b=two%20words" as pairs.
    static List<String[]> pairs(String header) throws java.io.UnsupportedEncodingException {
        List<String[]> pairs = new ArrayList<String[]>();
        for (String item : header.split("[&,]\\s*")) {
            if (!item.isEmpty()) {
                String[] pair = item.split("=", 2);
                pairs.add(new String[] {pair[0], decode(pair.length < 2 ? "" : pair[1])});
            }
        }
        return pairs;
    }
%>
<%
    Map<String, String> data = new LinkedHashMap<String, String>();
    for (String[] pair : pairs(header(request, "X-Session-Data"))) {
        data.put(pair[0], pair[1]);
    }
    String state = header(request, "X-Session-State");               // none, live, expired, invalid
    String user = decode(header(request, "X-Session-User"));         // who logged in, or ""
    // What follows a ";" are further fields of the message.
    List<String[]> flashes = pairs(header(request, "X-Session-Flashes").replaceAll(";[^&,]*", ""));

    // Counted by the proxy: no update is lost.
    response.addHeader("X-Session-Add", "visits=1");
    // Any text: it is encoded.
    String seen = data.containsKey("name") ? data.get("name") : "caf\u00e9 \u20ac 100%";
    response.addHeader("X-Session-Set", "seen=" + encode(seen));
    if (state.equals("none")) {
        response.addHeader("X-Session-Flash", "info=" + encode("Welcome."));
    }
    // response.addHeader("X-Session-Unset", "a&b");                 "*" drops everything
    // response.setHeader("X-Session-Login", encode("ada"));         a new id, and the old one is dead
    // response.setHeader("X-Session-Destroy", "1");                 this session; "others", "all" of this user
%>
state: <%= state %>
user: <%= user %>
<% for (String key : data.keySet()) { %><%= key + ": " + data.get(key) + "\n" %><% } %>
<% for (String[] flash : flashes) { %><%= "[" + flash[0] + "] " + flash[1] + "\n" %><% } %>
