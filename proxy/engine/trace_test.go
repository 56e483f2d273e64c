package engine

import (
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
)

func TestIdentify(t *testing.T) {
	const parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	for _, c := range []struct {
		name, in  string
		continued bool
	}{
		{"none", "", false},
		{"good", parent, true},
		{"not sampled", strings.TrimSuffix(parent, "1") + "0", true},
		{"no ids", "00-00000000000000000000000000000000-00f067aa0ba902b7-01", false},
		{"capitals", strings.ToUpper(parent), false},
		{"short", parent[:54], false},
	} {
		t.Run(c.name, func(t *testing.T) {
			x := &exchange{call: &Call{}}
			if c.in != "" {
				x.call.Header.Add("Traceparent", c.in)
			}
			x.req.Received = time.Now()
			x.identify()
			sampled := c.continued && strings.HasSuffix(c.in, "1")
			if !validTraceparent(x.trace.header()) || x.req.TraceID != x.trace.header()[3:35] || strings.HasSuffix(x.trace.header(), "-01") != sampled {
				t.Errorf("traceparent %q of trace %q, sampled %t", x.trace.header(), x.req.TraceID, sampled)
			}
			if c.continued != (len(c.in) >= 35 && x.req.TraceID == c.in[3:35]) {
				t.Errorf("%q continues as %q", c.in, x.req.TraceID)
			}
			if c.in != "" && x.trace.spanID() == parent[36:52] {
				t.Error("the client's span is taken for our own")
			}
		})
	}
}

// TestRequestIDs holds the form of RFC 9562 against another's reading of it: version, variant, time, and no
// id twice.
func TestRequestIDs(t *testing.T) {
	began := time.Now()
	seen := make(map[string]bool)
	x := &exchange{call: &Call{}}
	for i := range 1000 {
		x.req.Received = began.Add(time.Duration(i) * 999 * time.Microsecond / 1000)
		x.identify()
		id, err := uuid.Parse(x.req.ID)
		if err != nil || id.Version() != 7 || id.Variant() != uuid.RFC4122 || id.String() != x.req.ID {
			t.Fatalf("%q: %v, version %d, variant %s", x.req.ID, err, id.Version(), id.Variant())
		}
		sec, nsec := id.Time().UnixTime()
		if milli := sec*1000 + nsec/1e6; milli != x.req.Received.UnixMilli() {
			t.Fatalf("%q is of %d, not of %d", x.req.ID, milli, x.req.Received.UnixMilli())
		}
		if seen[x.req.ID] {
			t.Fatalf("%q came twice", x.req.ID)
		}
		seen[x.req.ID] = true
	}
}
