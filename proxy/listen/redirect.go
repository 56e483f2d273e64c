package listen

import (
	"context"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/palisade-security/palisade/proxy/canon"
	"github.com/palisade-security/palisade/proxy/engine"
	"github.com/palisade-security/palisade/proxy/field"
)

// redirectWrite is how long a client may take to take its redirect.
const redirectWrite = 10 * time.Second

// Redirect answers plain HTTP with a permanent redirect to the same host and target over https, for
// declared hosts only. Nothing else is served in the clear.
func Redirect(port string, hosts func() []string) engine.Handler {
	return engine.HandlerFunc(func(_ context.Context, c *engine.Call) bool {
		c.Line.WriteWithin(redirectWrite)
		if c.Refused != nil {
			return say(c, c.Refused.Kind.Status, c.Refused.Kind.Title)
		}
		host, _, err := canon.Host(c.Host)
		if err != nil || !declared(hosts(), host) || !strings.HasPrefix(c.Target, "/") || strings.HasPrefix(c.Target, "//") {
			return say(c, http.StatusNotFound, "no such host")
		}
		if port != "443" {
			host = net.JoinHostPort(host, port)
		}
		c.Answer.Begin(http.StatusPermanentRedirect, field.List{{Name: "Location", Value: "https://" + host + c.Target}, {Name: "Connection", Value: "close"}}, 0)
		return true
	})
}

// say answers with a line of text.
func say(c *engine.Call, status int, text string) bool {
	text += "\n"
	c.Answer.Begin(status, field.List{
		{Name: "Content-Type", Value: "text/plain; charset=utf-8"}, {Name: "X-Content-Type-Options", Value: "nosniff"},
	}, int64(len(text)))
	_, err := c.Answer.Write([]byte(text))
	return err == nil
}

func declared(hosts []string, host string) bool {
	if slices.Contains(hosts, host) {
		return true
	}
	_, parent, ok := strings.Cut(host, ".")
	return ok && slices.Contains(hosts, "*."+parent)
}
