// Sessions of Cloakroom in a servlet. HttpServletRequest.getSession() and JSESSIONID are not used.
//
// Commands must be given before the response is committed, that is before more than its buffer has been written. Never
// put raw text into a header: Tomcat drops such a header with a warning in its log. Everything here is percent-encoded.
// Before Jakarta EE 9 (Tomcat 9 and earlier) write javax.servlet in place of jakarta.servlet.
import jakarta.servlet.annotation.WebServlet;
import jakarta.servlet.http.HttpServlet;
import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletResponse;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.UnsupportedEncodingException;
import java.net.URLDecoder;
import java.net.URLEncoder;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

@WebServlet("/session")
public class SessionServlet extends HttpServlet {

    /** The session of one request. */
    static final class Session {
        final Map<String, String> data = new LinkedHashMap<>();
        final List<String[]> flashes;
        final String state;
        final String user;
        private final HttpServletResponse response;

        Session(HttpServletRequest request, HttpServletResponse response) throws UnsupportedEncodingException {
            this.response = response;
            for (String[] pair : pairs(header(request, "X-Session-Data"))) {
                data.put(pair[0], pair[1]);
            }
            String state = request.getHeader("X-Session-State");
            this.state = state == null ? "none" : state;             // none, live, expired, invalid
            this.user = decode(header(request, "X-Session-User"));   // who logged in, or ""
            // What follows a ";" are further fields of the message.
            this.flashes = pairs(header(request, "X-Session-Flashes").replaceAll(";[^&,]*", ""));
        }

        void set(String key, String value) throws UnsupportedEncodingException {
            response.addHeader("X-Session-Set", key + "=" + encode(value));
        }

        /** Counted by the proxy: no update is lost. */
        void add(String key, long number) {
            response.addHeader("X-Session-Add", key + "=" + number);
        }

        /** "*" drops everything. */
        void unset(String... keys) {
            response.addHeader("X-Session-Unset", String.join("&", keys));
        }

        /** A new id, and the old one is dead. */
        void login(String user) throws UnsupportedEncodingException {
            response.setHeader("X-Session-Login", encode(user));
        }

        /** "1" this session, "others", or "all" of this user. */
        void destroy(String scope) {
            response.setHeader("X-Session-Destroy", scope);
        }

        /** Shown by the next page. */
        void flash(String level, String text) throws UnsupportedEncodingException {
            response.addHeader("X-Session-Flash", level + "=" + encode(text));
        }

        private static String header(HttpServletRequest request, String name) {
            String value = request.getHeader(name);
            return value == null ? "" : value;
        }

        static List<String[]> pairs(String header) throws UnsupportedEncodingException {
            List<String[]> pairs = new ArrayList<>();
            for (String item : header.split("[&,]\\s*")) {
                if (!item.isEmpty()) {
                    String[] pair = item.split("=", 2);
                    pairs.add(new String[] {pair[0], pair.length < 2 ? "" : decode(pair[1])});
                }
            }
            return pairs;
        }

        static String decode(String text) throws UnsupportedEncodingException {
            return URLDecoder.decode(text.replace("+", "%2B"), "UTF-8");
        }

        static String encode(String text) throws UnsupportedEncodingException {
            return URLEncoder.encode(text, "UTF-8").replace("+", "%20");
        }
    }

    /** A page that uses it. */
    @Override
    protected void doGet(HttpServletRequest request, HttpServletResponse response) throws IOException {
        Session session = new Session(request, response);
        session.add("visits", 1);
        session.set("seen", session.data.getOrDefault("name", "caf\u00e9 \u20ac 100%"));   // any text: it is encoded
        if (session.state.equals("none")) {
            session.flash("info", "Welcome.");
        }
        response.setContentType("text/plain; charset=UTF-8");
        PrintWriter out = response.getWriter();
        out.println("state: " + session.state);
        out.println("user: " + session.user);
        session.data.forEach((key, value) -> out.println(key + ": " + value));
        session.flashes.forEach(flash -> out.println("[" + flash[0] + "] " + flash[1]));
    }
}
