package listen

import (
	"net"
	"net/http"
	"slices"
	"strings"

	"github.com/palisade-security/palisade/proxy/canon"
)

// Redirect answers plain HTTP with a permanent redirect to the same host and target over https, for
// declared hosts only. Nothing else is served in the clear.
func Redirect(port string, hosts func() []string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, err := canon.Host(r.Host)
		if err != nil || !declared(hosts(), host) || !strings.HasPrefix(r.RequestURI, "/") || strings.HasPrefix(r.RequestURI, "//") {
			http.Error(w, "no such host", http.StatusNotFound)
			return
		}
		if port != "443" {
			host = net.JoinHostPort(host, port)
		}
		w.Header().Set("Location", "https://"+host+r.RequestURI)
		w.Header().Set("Connection", "close")
		w.WriteHeader(http.StatusPermanentRedirect)
	})
}

func declared(hosts []string, host string) bool {
	if slices.Contains(hosts, host) {
		return true
	}
	_, parent, ok := strings.Cut(host, ".")
	return ok && slices.Contains(hosts, "*."+parent)
}
