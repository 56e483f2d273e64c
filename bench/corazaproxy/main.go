// Command corazaproxy is the mark that Palisade's inspection is measured against: stock Coraza with the OWASP
// Core Rule Set in front of httputil.ReverseProxy on net/http, tuned as far as a few lines allow. It is no
// gateway: nothing but the rule set stands between its listener and the backend.
package main

import (
	"crypto/tls"
	"flag"
	"fmt"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"runtime/debug"
	"time"

	coreruleset "github.com/corazawaf/coraza-coreruleset/v4"
	"github.com/corazawaf/coraza/v3"
	txhttp "github.com/corazawaf/coraza/v3/http"
)

// directives are the settings of Palisade's own use of the rule set: paranoia 1, blocking, request phases.
const directives = `Include @coraza.conf-recommended
SecRuleEngine On
SecRequestBodyAccess On
SecResponseBodyAccess Off
SecAuditEngine Off
Include @crs-setup.conf.example
SecAction "id:900115,phase:1,pass,t:none,nolog,setvar:tx.reporting_level=0,setvar:tx.crs_skip_response_analysis=1"
Include @owasp_crs/*.conf
`

func main() {
	listen := flag.String("listen", "127.0.0.1:8443", "address to serve at")
	backend := flag.String("backend", "127.0.0.1:8080", "host:port to forward to")
	cert := flag.String("cert", "cert.pem", "certificate")
	key := flag.String("key", "key.pem", "its key")
	flag.Parse()
	if err := run(*listen, *backend, *cert, *key); err != nil {
		fmt.Fprintf(os.Stderr, "corazaproxy: %v\n", err)
		os.Exit(1)
	}
}

func run(listen, backend, cert, key string) error {
	debug.SetGCPercent(200) // less CPU for memory, which nobody bounds here
	waf, err := coraza.NewWAF(coraza.NewWAFConfig().WithRootFS(coreruleset.FS).WithDirectives(directives))
	if err != nil {
		return fmt.Errorf("loading the rule set: %w", err)
	}
	target := &url.URL{Scheme: "http", Host: backend}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Host = r.In.Host
			r.SetXForwarded()
		},
		Transport: &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true, IdleConnTimeout: time.Minute},
	}
	s := &http.Server{
		Addr: listen, Handler: txhttp.WrapHandler(waf, proxy), ReadHeaderTimeout: 5 * time.Second,
		TLSConfig: &tls.Config{MinVersion: tls.VersionTLS12},
	}
	return s.ListenAndServeTLS(cert, key)
}
