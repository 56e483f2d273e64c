package h2io

import (
	"bytes"
	"net/textproto"
	"strings"
	"testing"

	"golang.org/x/net/http2/hpack"
)

// TestFields reads back with another's decoder what was written, whether it is remembered or not.
func TestFields(t *testing.T) {
	var o Output
	o.Init(OutputOptions{})
	decoder := hpack.NewDecoder(TableBytes, nil)
	for _, n := range []int{0, 1, 125, 126, 127, 128, 254, 255, 256, 16 << 10, FrameBytes * 3} {
		value := strings.Repeat("v", n)
		for range 2 {
			o.BeginFields()
			o.Field(":status", "200", false)
			o.Field("x-request-id", value, true)
			o.Field("date", "today", false)
			o.Field(strings.Repeat("n", n+1), "x", true)
			block := bytes.Clone(o.block.Bytes())
			if !bytes.Contains(block, []byte(value)) {
				t.Error("what changes is not written as it is")
			}
			fields, err := decoder.DecodeFull(block)
			if err != nil || len(fields) != 4 {
				t.Fatalf("%d bytes: %v, %v", n, fields, err)
			}
			if f := fields[1]; f.Name != "x-request-id" || f.Value != value || !f.Sensitive {
				t.Errorf("%d bytes: %+v", n, f)
			}
			if f := fields[3]; len(f.Name) != n+1 || f.Value != "x" {
				t.Errorf("%d bytes: %+v", n, f)
			}
		}
	}
}

func TestNames(t *testing.T) {
	for lower, name := range canonical {
		if Lower(name) != lower || Canonical(lower) != name || textproto.CanonicalMIMEHeaderKey(lower) != name {
			t.Errorf("%q and %q", lower, name)
		}
	}
	if got := Canonical("x-unheard-of"); got != "X-Unheard-Of" {
		t.Error(got)
	}
	if got := Lower("X-Unheard-Of"); got != "x-unheard-of" {
		t.Error(got)
	}
}
