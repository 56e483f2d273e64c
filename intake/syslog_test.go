package intake

import (
	"bufio"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/palisade-security/palisade/event"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// TestReadSyslog reads the examples of RFC 5424 (section 6.5) and RFC 3164 (section 5.4), and what senders make of them.
func TestReadSyslog(t *testing.T) {
	for _, c := range []struct {
		in, text, host string
		at             time.Time
		severity       event.Severity
		attributes     map[string]string
	}{
		{
			"<34>1 2003-10-11T22:14:15.003Z mymachine.example.com su - ID47 - \ufeff'su root' failed for lonvick on /dev/pts/8", "'su root' failed for lonvick on /dev/pts/8", "mymachine.example.com",
			time.Date(2003, 10, 11, 22, 14, 15, 3e6, time.UTC), 18,
			map[string]string{"facility": "auth", "app": "su", "msgid": "ID47"},
		},
		{
			"<165>1 2003-08-24T05:14:15.000003-07:00 192.0.2.1 myproc 8710 - - %% It's time to make the do-nuts.", "%% It's time to make the do-nuts.", "192.0.2.1",
			time.Date(2003, 8, 24, 12, 14, 15, 3e3, time.UTC), 10,
			map[string]string{"facility": "local4", "app": "myproc", "pid": "8710"},
		},
		{
			`<165>1 2003-10-11T22:14:15.003Z m evntslog - ID47 [exampleSDID@32473 iut="3" eventSource="Appli\"ca\]tion"][b@1 c="d"]`, "", "m",
			time.Date(2003, 10, 11, 22, 14, 15, 3e6, time.UTC), 10,
			map[string]string{"facility": "local4", "app": "evntslog", "msgid": "ID47", "exampleSDID@32473.iut": "3", "exampleSDID@32473.eventSource": `Appli"ca]tion`, "b@1.c": "d"},
		},
		{"<14>1 - - - - - -", "", "", time.Time{}, 9, map[string]string{"facility": "user"}},
		{`<11>1 - h a - - - @cee: {"msg":"m","level":"debug","n":1}`, "m", "h", time.Time{}, 5, map[string]string{"facility": "user", "app": "a", "n": "1"}},
		{"<34>Oct 11 22:14:15 mymachine su: 'su root' failed", "'su root' failed", "mymachine", time.Date(2026, 10, 11, 22, 14, 15, 0, time.UTC), 18, map[string]string{"facility": "auth", "app": "su"}},
		{"<13>Feb  5 17:32:18 10.0.0.99 sshd[77]: Use the BFG!\n", "Use the BFG!", "10.0.0.99", time.Date(2027, 2, 5, 17, 32, 18, 0, time.UTC), 10, map[string]string{"facility": "user", "app": "sshd", "pid": "77"}},
		{"<13>2026-11-23T11:00:00.5+01:00 h cron[1]: x", "x", "h", time.Date(2026, 11, 23, 10, 0, 0, 5e8, time.UTC), 10, map[string]string{"facility": "user", "app": "cron", "pid": "1"}},
		{"<13>no time and no tag", "no time and no tag", "", time.Time{}, 10, map[string]string{"facility": "user"}},
		{"<13>1 not a time h a - - - x", "1 not a time h a - - - x", "", time.Time{}, 10, map[string]string{"facility": "user"}},
		{`<13>1 - h a - - [broken x="1" text`, `1 - h a - - [broken x="1" text`, "", time.Time{}, 10, map[string]string{"facility": "user"}},
		{"<192>x", "<192>x", "", time.Time{}, 0, nil},
		{"plain", "plain", "", time.Time{}, 0, nil},
		{"", "", "", time.Time{}, 0, nil},
	} {
		r := readSyslog([]byte(c.in), noon)
		if r.text != c.text || r.host != c.host || !r.time.Equal(c.at) || r.severity != c.severity || !maps.Equal(r.attributes, c.attributes) {
			t.Errorf("%q:\ngot  %q %q %s %d %v\nwant %q %q %s %d %v", c.in, r.text, r.host, r.time, r.severity, r.attributes, c.text, c.host, c.at, c.severity, c.attributes)
		}
	}
}

func TestTraceInStructuredData(t *testing.T) {
	r := readSyslog([]byte(`<14>1 - h a - - [ids@1 trace_id="4bf92f3577b34da6a3ce929d0e0e4736" span_id="00f067aa0ba902b7"] x`), noon)
	if r.trace != "4bf92f3577b34da6a3ce929d0e0e4736" || r.span != "00f067aa0ba902b7" || len(r.attributes) != 2 {
		t.Errorf("%+v", r)
	}
}

func TestReadFrames(t *testing.T) {
	read := func(text string) (messages []string, err error) {
		r := bufio.NewReader(strings.NewReader(text))
		for {
			records, _, err := readFrames(r)
			for _, one := range records {
				messages = append(messages, one.text)
			}
			if err != nil {
				return messages, err
			}
		}
	}
	for text, want := range map[string]string{
		"1 a2 bc":            "a|bc|EOF",
		"5 <14>x3 y\nz":      "x|y\nz|EOF",
		"<14>x\n<14>y":       "x|y|EOF",
		"10 short":           "unexpected EOF",
		"999999 x":           "framing",
		"9999999999999999 x": "framing",
		"12x":                "EOF",
		"x" + strings.Repeat("y", maxLine) + "\n": "framing",
	} {
		got, err := read(text)
		said := "framing"
		if err.Error() != errFrame.Error() {
			said = err.Error()
		}
		if all := strings.Join(append(got, said), "|"); all != want {
			t.Errorf("%.20q: %q, want %q", text, all, want)
		}
	}
}
