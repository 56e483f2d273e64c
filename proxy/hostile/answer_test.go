package hostile_test

import (
	"net/http"
	"slices"
	"testing"
)

// TestPoisonedAnswers holds that a service that answers more, or otherwise, than it was asked spoils its own
// answer at most, never the next one.
func TestPoisonedAnswers(t *testing.T) {
	evil := ok("evil")
	for _, c := range []struct {
		name, answer string
		want         int
	}{
		{"two answers", ok("first") + evil, 200},
		{"bytes behind", ok("first") + "x", 200},
		{"empty line behind", ok("first") + "\r\n", 200},
		{"answer behind 204", "HTTP/1.1 204 No Content\r\n\r\n" + evil, 204},
		{"body behind 204", "HTTP/1.1 204 No Content\r\nContent-Length: 4\r\n\r\nevil", 204},
		{"answer behind 304", "HTTP/1.1 304 Not Modified\r\n\r\n" + evil, 304},
		{"answer behind the last chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + evil, 200},
		{"length and coding", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + evil, 502},
		{"two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nContent-Length: 5\r\n\r\n" + evil, 502},
		{"length with a sign", "HTTP/1.1 200 OK\r\nContent-Length: +0\r\n\r\n" + evil, 502},
		{"other coding", "HTTP/1.1 200 OK\r\nTransfer-Encoding: xchunked\r\n\r\n" + evil, 502},
		{"bare LF", "HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n" + evil, 502},
		{"bare CR", "HTTP/1.1 200 OK\r\nX: a\rContent-Length: 99\r\nContent-Length: 0\r\n\r\n" + evil, 502},
		{"fold", "HTTP/1.1 200 OK\r\nX: a\r\n Content-Length: 99\r\nContent-Length: 0\r\n\r\n" + evil, 502},
		{"NUL", "HTTP/1.1 200 OK\r\nX: \x00\r\nContent-Length: 0\r\n\r\n" + evil, 502},
		{"no answer", "evil\r\n\r\n", 502},
		{"switch unasked", "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: evil\r\n\r\n" + evil, 502},
		{"hints, then two answers", "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + ok("first") + evil, 200},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFront(t, bounds{answer: func(r *http.Request, b []byte) string {
				if r.URL.Path == "/poison" {
					return c.answer
				}
				return say(r, b)
			}})
			poison := "GET /poison HTTP/1.1\r\nHost: " + host + "\r\n\r\n"
			answers := f.raw(t, last(poison+poison+"GET /after HTTP/1.1\r\nHost: "+host+"\r\n\r\n"))
			if got := statuses(answers); !slices.Equal(got, []int{c.want, c.want, 200, 200}) {
				t.Fatalf("answers %+v", answers)
			}
			if answers[2].body != "saw GET /after" || answers[3].body != "saw GET /last" {
				t.Errorf("answers %+v", answers)
			}
		})
	}
}
