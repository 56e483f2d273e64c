package console

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"html/template"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/model"
	"github.com/palisade-security/palisade/store/query"
	"github.com/palisade-security/palisade/topology/draw"
)

//go:embed templates
var templates embed.FS

//go:embed static
var static embed.FS

// themeCookie keeps light or dark; without it the browser's own preference counts.
const themeCookie = "__Host-palisade-theme"

// view is what every template gets.
type view struct {
	Fleet string
	Title string
	Page  string
	Path  string // with its query, to come back to
	Who   string // empty: nobody is signed in
	Role  Role
	Token string
	Theme string // light, dark; empty: as the browser likes
	Body  any
}

// readTemplates makes one set of templates for each page.
func readTemplates() (map[string]*template.Template, error) {
	base, err := template.New("layout.html").Funcs(functions()).ParseFS(templates, "templates/layout.html", "templates/part_*.html")
	if err != nil {
		return nil, err
	}
	names, err := fs.Glob(templates, "templates/page_*.html")
	if err != nil {
		return nil, err
	}
	out := map[string]*template.Template{}
	for _, name := range names {
		t, err := base.Clone()
		if err == nil {
			t, err = t.ParseFS(templates, name)
		}
		if err != nil {
			return nil, err
		}
		out[strings.TrimSuffix(strings.TrimPrefix(path.Base(name), "page_"), ".html")] = t
	}
	return out, nil
}

// show writes a page.
func (c *Console) show(w http.ResponseWriter, r *http.Request, s *session, status int, page, title string, body any) {
	v := view{Fleet: c.o.Name, Title: title, Page: page, Path: r.URL.RequestURI(), Body: body}
	if s != nil {
		v.Who, v.Role, v.Token = s.who, s.role, s.token
	}
	if t, err := r.Cookie(themeCookie); err == nil && (t.Value == "light" || t.Value == "dark") {
		v.Theme = t.Value
	}
	var out bytes.Buffer
	if err := c.pages[page].Execute(&out, &v); err != nil {
		c.o.Log.ErrorContext(r.Context(), "a page of the console cannot be written", "page", page, "error", err)
		http.Error(w, "This page could not be made; the reason stands in the log.", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(out.Bytes()) // who is gone needs no answer
}

// file serves a script or a style.
func (c *Console) file(w http.ResponseWriter, r *http.Request, _ *session) error {
	name := strings.TrimPrefix(r.URL.Path, "/static/")
	data, err := static.ReadFile("static/" + name)
	if name == "map.css" {
		data, err = []byte(draw.Style()), nil
	}
	if err != nil || !slices.Contains([]string{".css", ".js", ".svg"}, path.Ext(name)) {
		return &pageError{http.StatusNotFound, "There is no such file."}
	}
	sum := sha256.Sum256(data)
	w.Header().Set("ETag", `"`+hex.EncodeToString(sum[:12])+`"`)
	w.Header().Set("Cache-Control", "private, no-cache")
	http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(data))
	return nil
}

// setTheme keeps what somebody likes to look at, and goes back.
func (c *Console) setTheme(w http.ResponseWriter, r *http.Request, _ *session) error {
	switch theme := r.PostFormValue("theme"); theme {
	case "light", "dark":
		setCookie(w, themeCookie, theme, 365*24*3600)
	default:
		setCookie(w, themeCookie, "", -1)
	}
	back := r.PostFormValue("back")
	if u, err := url.Parse(back); err != nil || u.Scheme != "" || u.Host != "" || !strings.HasPrefix(back, "/") || strings.HasPrefix(back, "//") || strings.ContainsAny(back, "\\\r\n") {
		back = "/"
	}
	http.Redirect(w, r, back, http.StatusSeeOther) //nolint:gosec // G710: a path of this console, as was just checked
	return nil
}

func clientOf(r *http.Request) (host string, port int) {
	host, text, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr, 0
	}
	port, _ = strconv.Atoi(text) // of our own listener
	return host, port
}

// functions are what templates can do.
func functions() template.FuncMap {
	return template.FuncMap{
		"at":     func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05.000") },
		"minute": func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04") },
		"iso":    func(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) },
		"took":   shortTime,
		"left":   func(t time.Time) string { return shortTime(time.Until(t)) },
		"ago":    func(t time.Time) string { return shortTime(time.Since(t)) + " ago" },
		"count":  countOf,
		"short":  func(s string) string { return s[:min(len(s), 12)] },
		"last":   func(s string) string { return s[strings.LastIndexByte(s, '/')+1:] },
		"join":   strings.Join,
		"is": func(field, value string) (string, error) {
			f := query.FieldNamed(field)
			if f == query.None {
				return "", fmt.Errorf("no field %q", field)
			}
			return asked(query.Is{Field: f, Value: value}), nil
		},
		"pair": func(trail []event.Stage, x Reasons) any {
			return struct {
				Trail   []event.Stage
				Reasons Reasons
			}{trail, x}
		},
		"rate": func(r model.Rate) (string, error) {
			text, err := r.MarshalText()
			return string(text), err
		},
		"percent": func(f float64) string { return strconv.FormatFloat(100*f, 'f', 0, 64) + " %" },
		"figure":  func(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) },
	}
}

// asked is a query as people write it.
func asked(x query.Expr) string { return query.String(x) }

// shortTime writes a duration with two or three digits.
func shortTime(d time.Duration) string {
	switch abs := d.Abs(); {
	case abs >= 48*time.Hour:
		return strconv.Itoa(int(d/(24*time.Hour))) + " d"
	case abs >= 2*time.Hour:
		return strconv.Itoa(int(d/time.Hour)) + " h"
	case abs >= 2*time.Minute:
		return strconv.Itoa(int(d/time.Minute)) + " min"
	case abs >= time.Second:
		return strconv.FormatFloat(d.Seconds(), 'f', 1, 64) + " s"
	case abs >= time.Millisecond:
		return strconv.FormatFloat(d.Seconds()*1e3, 'f', 1, 64) + " ms"
	}
	return strconv.FormatInt(d.Microseconds(), 10) + " µs"
}

// countOf writes a number with spaces between thousands.
func countOf(n any) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "\u202f" + s[i:]
	}
	return s
}
