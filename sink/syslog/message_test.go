package syslog

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/sink/sinktest"
)

// message is one as a strict receiver reads it.
type message struct {
	pri                             int
	at                              time.Time
	hostname, app, proc, kind, sdID string
	params                          map[string]string
	text                            string
}

// parse reads a message by the grammar of RFC 5424, section 6.
func parse(b string) (m message, err error) {
	head := strings.SplitN(b, " ", 7)
	if len(head) != 7 || !strings.HasPrefix(head[0], "<") || !strings.HasSuffix(head[0], ">1") {
		return m, errors.New("header")
	}
	for _, c := range head[0][1 : len(head[0])-2] {
		m.pri = m.pri*10 + int(c-'0')
	}
	if m.at, err = time.Parse("2006-01-02T15:04:05.999999Z07:00", head[1]); err != nil {
		return m, err
	}
	m.hostname, m.app, m.proc, m.kind = head[2], head[3], head[4], head[5]
	for i, most := range []int{255, 48, 128, 32} {
		if s := head[2+i]; s == "" || len(s) > most || strings.ContainsFunc(s, func(r rune) bool { return r < 33 || r > 126 }) {
			return m, errors.New("a name in the header: " + s)
		}
	}
	rest := head[6]
	if !strings.HasPrefix(rest, "[") {
		return m, errors.New("structured data")
	}
	end := strings.IndexAny(rest, " ]")
	m.sdID, rest, m.params = rest[1:end], rest[end:], map[string]string{}
	for strings.HasPrefix(rest, " ") {
		name, value, ok := strings.Cut(rest[1:], `="`)
		if !ok || name == "" || len(name) > 32 || strings.ContainsAny(name, "= ]\"") {
			return m, errors.New("a parameter: " + name)
		}
		var text strings.Builder
		i := 0
		for ; i < len(value) && value[i] != '"'; i++ {
			if value[i] == ']' {
				return m, errors.New("a bare ]")
			}
			if value[i] == '\\' {
				if i++; i == len(value) || !strings.ContainsRune("\\\"]", rune(value[i])) {
					return m, errors.New("an escape")
				}
			}
			text.WriteByte(value[i])
		}
		if i == len(value) {
			return m, errors.New("a parameter without end")
		}
		m.params[name], rest = text.String(), value[i+1:]
	}
	text, ok := strings.CutPrefix(rest, "] ")
	if !ok || !utf8.ValidString(b) {
		return m, errors.New("the end of structured data")
	}
	m.text = text
	return m, nil
}

// TestMessages holds the headers and structured data of one event of each kind.
func TestMessages(t *testing.T) {
	var out bytes.Buffer
	for _, r := range sinktest.Samples() {
		b := string(Append(nil, r.Event, "host-1.example"))
		m, err := parse(b)
		if err != nil {
			t.Errorf("%v: %s", err, b)
			continue
		}
		e, err := event.Parse([]byte(m.text))
		if err != nil || e.ID != r.Event.ID || !m.at.Equal(r.Event.Time.Truncate(time.Microsecond)) || m.sdID != ID || m.params["id"] != e.UID() || m.pri>>3 != facility {
			t.Errorf("%v: %+v", err, m)
		}
		if strings.ContainsAny(b, "\n\x00\x1b") {
			t.Errorf("control characters in %q", b)
		}
		out.WriteString(strings.TrimSuffix(b, m.text) + "...\n")
	}
	sinktest.Golden(t, "testdata/messages.golden", out.Bytes())
}

func TestFields(t *testing.T) {
	sinktest.CheckFields(t, Fields())
	sinktest.CheckTable(t, "../../docs/export-events.md", Fields())
}

// FuzzAppend writes what clients choose.
func FuzzAppend(f *testing.F) {
	f.Add("user", "/path", "host")
	f.Add(`a"b]c\d`, "\xff\x00\n", "h o\tst\x7f")
	f.Fuzz(func(t *testing.T, user, path, host string) {
		e := &event.Event{Time: sinktest.Start, ID: path, Path: path, Route: path, User: &event.User{Subject: user}, Problem: user}
		b := string(Append(nil, e, host))
		m, err := parse(b)
		if err != nil {
			t.Fatalf("%v: %q", err, b)
		}
		if want := strings.ToValidUTF8(user, "\uFFFD"); !strings.ContainsFunc(user, func(r rune) bool { return r < ' ' || r == 0x7f || r == utf8.RuneError }) && m.params["user"] != want {
			t.Errorf("%q reads %q", user, m.params["user"])
		}
	})
}
