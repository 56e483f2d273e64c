package h1

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

// heads follows data that comes in pieces of at most so many bytes, and returns what each head asks, what was taken, and the
// code of the refusal.
func heads(data []byte, piece int) (asked []string, taken int, code string) {
	f := NewFollower(1 << 10)
	for end := 0; end < len(data); {
		end = min(end+piece, len(data))
		for taken < end {
			n, head, why := f.Next(data[taken:end])
			if why != nil {
				return asked, taken, why.Code + ": " + why.Text
			}
			if n == 0 {
				break
			}
			taken += n
			if head != nil {
				asked = append(asked, fmt.Sprint(head.Method, " ", head.Target, " ", head.Proto, " ", head.Host))
			}
		}
	}
	return asked, taken, ""
}

// follows holds that a follower finds the same requests as the server, however they come, and nothing behind a refusal.
func follows(t *testing.T, data []byte) {
	t.Helper()
	whole, _, code := heads(data, len(data)+1)
	again, _, slow := heads(data, 1)
	if fmt.Sprint(again) != fmt.Sprint(whole) || slow != code {
		t.Fatalf("%q: at once %q %s, byte by byte %q %s", data, whole, code, again, slow)
	}
	for i, s := range drive(t, &feed{r: bytes.NewReader(data)}) {
		switch {
		case s.code != "" && !s.inBody:
			if len(whole) > i {
				t.Fatalf("%q: takes %q, which the server refuses with %s", data, whole[i], s.code)
			}
		case i >= len(whole):
			if !strings.Contains(code, "an empty line stands before") { // which the server allows
				t.Fatalf("%q: does not find %s %s: %s", data, s.method, s.target, code)
			}
			return
		case whole[i] != fmt.Sprint(s.method, " ", s.target, " ", s.proto, " ", s.host) && !bytes.Contains(data, []byte("//")): // of a URL the server takes the host
			t.Fatalf("%q: takes %q for %+v", data, whole[i], s)
		}
	}
}

func TestFollow(t *testing.T) {
	for _, s := range passing {
		follows(t, []byte(s))
		if _, taken, code := heads([]byte(s), 1<<20); code != "" || taken != len(s) {
			t.Errorf("%q: took %d, refused with %q", s, taken, code)
		}
	}
	for _, c := range refusing {
		follows(t, []byte(get+c.stream))
		if asked, _, code := heads([]byte(get+c.stream), 1<<20); code == "" || len(asked) != 1 {
			t.Errorf("%s: took %q, refused with %q", c.name, asked, code)
		}
	}
	for _, c := range breaking {
		follows(t, []byte(chunked(c.body)))
	}
	if _, _, code := heads([]byte(get+"\r\n"+get), 1<<20); code == "" {
		t.Error("an empty line stood before a head")
	}
}

// FuzzFollow holds that nobody can hide a request from a follower that the server would see.
func FuzzFollow(f *testing.F) {
	for _, s := range passing {
		f.Add([]byte(s))
	}
	for _, c := range refusing {
		f.Add([]byte(post + c.stream))
	}
	for _, c := range breaking {
		f.Add([]byte(chunked(c.body)))
	}
	f.Fuzz(follows)
}
