package canon_test

import (
	"os"
	"strings"
	"testing"

	"github.com/palisade-security/palisade/internal/desync"
	"github.com/palisade-security/palisade/proxy/canon"
)

// strictly names the compliant cases that this gateway refuses all the same, and why.
var strictly = map[string]string{
	// Only chunked is taken: no service behind a gateway needs other codings, and servers read them differently.
	"Different Transfer-Encoding headers":                  canon.CodeTransferEncoding,
	"Different Transfer-Encoding headers combined":         canon.CodeTransferEncoding,
	"Transfer-Encoding with a param: chunked;custom_param": canon.CodeTransferEncoding,
	// The corpus does not grade targets; these three are none by RFC 9112, section 3.2.
	"Compliant URL":        canon.CodeTargetFragment,
	"International in URI": canon.CodeTargetByte,
	"Empty URI":            canon.CodeTargetForm,
}

// TestDesyncCorpus holds that, even behind a front that checks nothing, whatever the corpus grades severe or
// ambiguous is refused, and what it grades compliant passes but for the cases named above.
func TestDesyncCorpus(t *testing.T) {
	cases, err := desync.Load(os.DirFS("testdata/desync"))
	if err != nil {
		t.Fatal(err)
	}
	seen := map[desync.Tier]int{}
	for i := range cases {
		c := &cases[i]
		seen[c.Tier]++
		got := code(t, canon.Canonicalise(fromCase(c), &canon.Output{}))
		switch c.Tier {
		case desync.Severe, desync.Ambiguous:
			if got == "" {
				t.Errorf("%s: %q (%s) passed", c.Tier, c.Name, c.Reason)
			}
		case desync.Compliant:
			if got != strictly[c.Name] {
				t.Errorf("%q: got %q, want %q", c.Name, got, strictly[c.Name])
			}
		case desync.Acceptable: // either is right
		}
	}
	if seen[desync.Severe] != 39 || seen[desync.Ambiguous] != 7 || seen[desync.Compliant] != 14 || seen[desync.Acceptable] != 13 {
		t.Errorf("the corpus is not whole: %v", seen)
	}
}

// fromCase hands a case to the canonicaliser as a front that checks nothing would: field lines as they came,
// and a body length as the last number says.
func fromCase(c *desync.Case) *canon.Input {
	return request(func(in *canon.Input) {
		in.Method, in.Target, in.Proto = c.Method, c.URI, c.Version
		for _, f := range c.Header {
			in.Header.Add(f.Name, f.Value)
			switch {
			case strings.EqualFold(f.Name, "Content-Length") && f.Value != "0":
				in.ContentLength = 1000
			case strings.EqualFold(f.Name, "Transfer-Encoding"):
				in.ContentLength = -1
			}
		}
	})
}
