package canon

import "strings"

// kind says what a header field means to this gateway.
type kind uint8

const (
	ordinary  kind = iota // forwarded as it is
	singleton             // forwarded; appears at most once, for its syntax is no list (RFC 9110, section 5.3)
	strict                // a singleton that decides about security or framing: ASCII only
	hopByHop              // for the next hop only (RFC 9110, section 7.6.1): removed
	claim                 // asserts who asks, from where or for what, as some gateway might: removed
)

// kinds holds the fields known by name; see kindOf for those known by prefix. It is never written after its
// making. Common ordinary names are listed to spare them the search for a prefix.
var kinds = makeKinds(map[kind]string{
	ordinary: `Accept Accept-Charset Accept-Encoding Accept-Language Cache-Control Pragma Dnt Sec-Ch-Ua Sec-Ch-Ua-Mobile
		Sec-Ch-Ua-Platform Sec-Gpc Sec-Websocket-Extensions Sec-Websocket-Protocol Save-Data Tracestate Link
		Upgrade-Insecure-Requests X-User-Agent`,
	singleton: `User-Agent Referer Cookie From Max-Forwards Date Content-Location Last-Event-Id Traceparent
		Idempotency-Key X-Request-Id X-Requested-With Priority`,
	strict: `Host Content-Length Content-Type Content-Encoding Content-Range Authorization Dpop Origin Expect
		Range If-Match If-None-Match If-Modified-Since If-Unmodified-Since If-Range Access-Control-Request-Method
		Access-Control-Request-Headers Sec-Websocket-Key Sec-Websocket-Version Sec-Fetch-Site Sec-Fetch-Mode
		Sec-Fetch-Dest Sec-Fetch-User X-Csrf-Token X-Xsrf-Token X-Api-Key`,
	// "Proxy" becomes HTTP_PROXY in CGI.
	hopByHop: `Connection Keep-Alive Proxy-Connection Proxy-Authenticate Proxy-Authorization
		Proxy-Authentication-Info Te Trailer Transfer-Encoding Upgrade Http2-Settings Alt-Used Proxy`,
	claim: `Forwarded Via Client-Ip True-Client-Ip Cf-Connecting-Ip Cf-Connecting-Ipv6 Cf-Pseudo-Ipv4 Cf-Ipcountry
		Cf-Visitor Cf-Worker Fastly-Client-Ip Fly-Client-Ip Cdn-Loop Remote-User Remote-Addr Remote-Email
		Remote-Groups Remote-Name Client-Cert Client-Cert-Chain Front-End-Https Authenticated-User Webauth-User
		Base-Url Proxy-Host Proxy-Url Request-Uri Txn-Token
		X-Real-Ip X-Client-Ip X-Cluster-Client-Ip X-Originating-Ip X-True-Ip X-Custom-Ip-Authorization
		X-Azure-Clientip X-Azure-Socketip X-Host X-Http-Host-Override X-Scheme X-Url-Scheme X-Arr-Ssl
		X-Arr-Clientcert X-Proxy-Url X-Proxy-User X-Accel-Redirect X-Sendfile X-Sub X-Subject X-Roles X-Role
		X-Groups X-Group X-Email X-Spiffe-Id X-Svid X-Principal X-Identity X-Impersonate-User X-Verified-User
		X-Account-Id X-Webauth-User X-Webauth-Email
		X-Http-Method X-Http-Method-Override X-Method-Override X-Method`,
})

func makeKinds(names map[kind]string) map[string]kind {
	m := make(map[string]kind, 256)
	for k, list := range names {
		for name := range strings.FieldsSeq(list) {
			m[name] = k
		}
	}
	return m
}

// kindOf returns the kind of a canonical name. Fields that assert identity, address or target are hearsay when
// they come from outside; nobody behind this gateway may mistake them for facts, so whole families count.
func kindOf(name string) kind {
	if k, ok := kinds[name]; ok {
		return k
	}
	rest, isX := strings.CutPrefix(name, "X-")
	switch {
	case isX && hasPrefix(rest, "Forwarded", "Forwarder-", "Original-", "User", "Remote-", "Auth-", "Authenticated", "Palisade-",
		"Ssl-", "Client-Cert", "Amzn-Oidc-", "Amzn-Mtls-", "Goog-Authenticated-", "Goog-Iap-", "Ms-Client-Principal",
		"Envoy-", "Appengine-", "Rewrite-", "Jwt-", "Token-", "Id-Token", "Oauth-"):
		return claim
	case !isX && hasPrefix(name, "Ssl-", "Cf-Access-", "Tailscale-", "Oidc-", "Saml-", "Mellon-", "Palisade-"):
		return claim
	}
	return ordinary
}

func hasPrefix(s string, prefixes ...string) bool {
	for _, p := range prefixes {
		if strings.HasPrefix(s, p) {
			return true
		}
	}
	return false
}
