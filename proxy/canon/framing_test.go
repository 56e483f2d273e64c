package canon_test

import (
	"testing"

	"github.com/palisade-security/palisade/proxy/canon"
)

func TestFraming(t *testing.T) {
	te := func(v ...string) []string { return v }
	for name, tc := range map[string]struct {
		method, proto string
		header        []string
		length        int64
		coding        []string
		want          string
	}{
		"length":                {header: []string{"Content-Length", "5"}, length: 5},
		"length zero":           {header: []string{"Content-Length", "0"}},
		"get length zero":       {method: "GET", header: []string{"Content-Length", "0"}},
		"chunked":               {length: -1, coding: te("chunked")},
		"chunked in header":     {length: -1, header: []string{"Transfer-Encoding", "chunked"}},
		"h2 unknown length":     {proto: "HTTP/2.0", length: -1},
		"expectation":           {header: []string{"Content-Length", "5", "Expect", "100-Continue"}, length: 5},
		"other length":          {header: []string{"Content-Length", "5"}, length: 6, want: canon.CodeLengthConflict},
		"length and coding":     {header: []string{"Content-Length", "5"}, length: -1, coding: te("chunked"), want: canon.CodeLengthConflict},
		"two lengths":           {header: []string{"Content-Length", "5", "Content-Length", "5"}, length: 5, want: canon.CodeHeaderDuplicate},
		"list of lengths":       {header: []string{"Content-Length", "5,5"}, length: 5, want: canon.CodeLength},
		"plus":                  {header: []string{"Content-Length", "+5"}, length: 5, want: canon.CodeLength},
		"minus":                 {header: []string{"Content-Length", "-1"}, length: -1, want: canon.CodeLength},
		"hex":                   {header: []string{"Content-Length", "0x5"}, length: 5, want: canon.CodeLength},
		"leading zero":          {header: []string{"Content-Length", "05"}, length: 5, want: canon.CodeLength},
		"empty":                 {header: []string{"Content-Length", ""}, want: canon.CodeLength},
		"overflow":              {header: []string{"Content-Length", "18446744073709551616"}, want: canon.CodeLength},
		"gzip, chunked":         {length: -1, coding: te("gzip", "chunked"), want: canon.CodeTransferEncoding},
		"identity":              {coding: te("identity"), want: canon.CodeTransferEncoding},
		"chunked twice":         {length: -1, header: []string{"Transfer-Encoding", "chunked", "Transfer-Encoding", "chunked"}, want: canon.CodeTransferEncoding},
		"chunked, chunked":      {length: -1, header: []string{"Transfer-Encoding", "chunked, chunked"}, want: canon.CodeTransferEncoding},
		"Chunked":               {length: -1, header: []string{"Transfer-Encoding", "Chunked"}, want: canon.CodeTransferEncoding},
		"chunked with a tab":    {length: -1, header: []string{"Transfer-Encoding", "chunked\x0b"}, want: canon.CodeHeaderValue},
		"chunked over HTTP/1.0": {proto: "HTTP/1.0", length: -1, coding: te("chunked"), want: canon.CodeTransferEncoding},
		"get with a body":       {method: "GET", header: []string{"Content-Length", "5"}, length: 5, want: canon.CodeContent},
		"head with chunks":      {method: "HEAD", length: -1, coding: te("chunked"), want: canon.CodeContent},
	} {
		in := request(func(in *canon.Input) {
			in.Method, in.Header, in.ContentLength, in.TransferEncoding = "POST", h(tc.header...), tc.length, tc.coding
			if tc.method != "" {
				in.Method = tc.method
			}
			if tc.proto != "" {
				in.Proto = tc.proto
			}
		})
		var out canon.Output
		if got := code(t, canon.Canonicalise(in, &out)); got != tc.want {
			t.Errorf("%s: got %q, want %q", name, got, tc.want)
		}
		if name == "expectation" && (!out.ExpectContinue || out.Header.Has("Expect")) {
			t.Errorf("%s: got %+v", name, out)
		}
		if in.GetContent = true; tc.want == canon.CodeContent && canon.Canonicalise(in, &out) != nil {
			t.Errorf("%s: refused though accepted", name)
		}
	}
}
