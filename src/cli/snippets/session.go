// Sessions of Cloakroom in Go. No cookie: the session comes in request headers, and response headers change it.
//
// Commands must be given before WriteHeader and before the first Write. url.PathEscape leaves "&" and "=" as they are:
// use encode below.
package main

import (
	"fmt"
	"log"
	"net/http"
	"net/url"
	"regexp"
	"strings"
)

// Pair is a key or a level, and its text.
type Pair struct{ Key, Value string }

// Session is the session of one request.
type Session struct {
	Data    map[string]string
	State   string // none, live, expired, invalid
	User    string // who logged in, or ""
	Flashes []Pair // messages for this page
	w       http.ResponseWriter
}

var (
	separator = regexp.MustCompile(`[&,]\s*`)
	fields    = regexp.MustCompile(`;[^&,]*`) // further fields of a message
)

func decode(text string) string {
	decoded, err := url.PathUnescape(text)
	if err != nil {
		return ""
	}
	return decoded
}

func encode(text string) string {
	return strings.ReplaceAll(url.QueryEscape(text), "+", "%20")
}

// pairs reads "a=1&b=two%20words".
func pairs(header string) (all []Pair) {
	for _, item := range separator.Split(header, -1) {
		if item != "" {
			key, value, _ := strings.Cut(item, "=")
			all = append(all, Pair{key, decode(value)})
		}
	}
	return all
}

// NewSession reads the session of a request.
func NewSession(w http.ResponseWriter, r *http.Request) *Session {
	s := &Session{Data: map[string]string{}, State: "none", w: w}
	for _, pair := range pairs(r.Header.Get("X-Session-Data")) {
		s.Data[pair.Key] = pair.Value
	}
	if state := r.Header.Get("X-Session-State"); state != "" {
		s.State = state
	}
	s.User = decode(r.Header.Get("X-Session-User"))
	s.Flashes = pairs(fields.ReplaceAllString(r.Header.Get("X-Session-Flashes"), ""))
	return s
}

func (s *Session) command(name, value string) { s.w.Header().Add("X-Session-"+name, value) }

// Set sets a key.
func (s *Session) Set(key, value string) { s.command("Set", key+"="+encode(value)) }

// Add adds to a key. The proxy counts: no update is lost.
func (s *Session) Add(key string, number int64) { s.command("Add", fmt.Sprintf("%s=%d", key, number)) }

// Unset drops keys; "*" drops everything.
func (s *Session) Unset(keys ...string) { s.command("Unset", strings.Join(keys, "&")) }

// Login binds the session to a user: a new id, and the old one is dead.
func (s *Session) Login(user string) { s.command("Login", encode(user)) }

// Destroy ends "1" this session, "others", or "all" of this user.
func (s *Session) Destroy(scope string) { s.command("Destroy", scope) }

// Flash leaves a message for the next page.
func (s *Session) Flash(level, text string) { s.command("Flash", level+"="+encode(text)) }

// page uses it.
func page(w http.ResponseWriter, r *http.Request) {
	session := NewSession(w, r)
	session.Add("visits", 1)
	name, ok := session.Data["name"]
	if !ok {
		name = "café € 100%" // any text: it is encoded
	}
	session.Set("seen", name)
	if session.State == "none" {
		session.Flash("info", "Welcome.")
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	fmt.Fprintf(w, "state: %s\nuser: %s\n", session.State, session.User)
	for key, value := range session.Data {
		fmt.Fprintf(w, "%s: %s\n", key, value)
	}
	for _, flash := range session.Flashes {
		fmt.Fprintf(w, "[%s] %s\n", flash.Key, flash.Value)
	}
}

func main() {
	http.HandleFunc("/", page)
	log.Fatal(http.ListenAndServe("127.0.0.1:9000", nil))
}
