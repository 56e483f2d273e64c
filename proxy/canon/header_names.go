package canon

import "strings"

// isSingleton reports whether a field of this canonical name may appear at most once: its syntax is no list,
// or what decides about the request reads one value and a back end might read another (RFC 9110, section 5.3).
func isSingleton(name string) bool {
	if isStrict(name) {
		return true
	}
	switch name {
	case "User-Agent", "Referer", "From", "Max-Forwards", "Date", "Content-Location", "Content-Language",
		"Last-Event-Id", "Traceparent", "Idempotency-Key", "X-Request-Id", "X-Requested-With", "Priority":
		return true
	}
	return false
}

// isStrict reports whether a field of this canonical name decides about security or framing: it appears once
// and holds only visible ASCII, spaces and tabs.
func isStrict(name string) bool {
	switch name {
	case "Host", "Content-Length", "Content-Type", "Content-Encoding", "Content-Range", "Transfer-Encoding",
		"Authorization", "Cookie", "Dpop", "Origin", "Expect", "Range",
		"If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since", "If-Range",
		"Access-Control-Request-Method", "Access-Control-Request-Headers",
		"Sec-Websocket-Key", "Sec-Websocket-Version",
		"Sec-Fetch-Site", "Sec-Fetch-Mode", "Sec-Fetch-Dest", "Sec-Fetch-User",
		"X-Csrf-Token", "X-Xsrf-Token", "X-Api-Key":
		return true
	}
	return false
}

// isHopByHop reports whether a field of this canonical name is for the next hop only (RFC 9110, section 7.6.1).
func isHopByHop(name string) bool {
	switch name {
	case "Connection", "Keep-Alive", "Proxy-Connection", "Proxy-Authenticate", "Proxy-Authorization",
		"Proxy-Authentication-Info", "Te", "Trailer", "Transfer-Encoding", "Upgrade", "Http2-Settings",
		"Alt-Used", "Proxy": // "Proxy" becomes HTTP_PROXY in CGI
		return true
	}
	return false
}

// isClaim reports whether a field of this canonical name asserts, as some gateway might, who asks, from where,
// or for what. From outside that is at best hearsay; nobody behind this gateway may mistake it for a fact.
func isClaim(name string) bool {
	if len(name) > 2 && name[0] == 'X' && name[1] == '-' {
		return isXClaim(name)
	}
	switch name {
	case "Forwarded", "Via", "Client-Ip", "True-Client-Ip", "Cf-Connecting-Ip", "Cf-Connecting-Ipv6",
		"Cf-Pseudo-Ipv4", "Cf-Ipcountry", "Cf-Visitor", "Cf-Worker", "Fastly-Client-Ip", "Fly-Client-Ip", "Cdn-Loop",
		"Remote-User", "Remote-Addr", "Remote-Email", "Remote-Groups", "Remote-Name", "Client-Cert", "Client-Cert-Chain",
		"Front-End-Https", "Authenticated-User", "Webauth-User", "Base-Url", "Proxy-Host", "Proxy-Url", "Request-Uri", "Redirect":
		return true
	}
	return hasPrefix(name, "Ssl-", "Cf-Access-", "Tailscale-", "Oidc-", "Saml-", "Mellon-", "Txn-Token", "Palisade-")
}

// isXClaim is isClaim for names that begin with "X-".
func isXClaim(name string) bool {
	switch name {
	case "X-Real-Ip", "X-Client-Ip", "X-Cluster-Client-Ip", "X-Originating-Ip", "X-Remote-Ip", "X-Remote-Addr", "X-True-Ip",
		"X-Custom-Ip-Authorization", "X-Azure-Clientip", "X-Azure-Socketip", "X-Appengine-User-Ip", "X-Original-Host",
		"X-Host", "X-Http-Host-Override", "X-Scheme", "X-Url-Scheme", "X-Arr-Ssl", "X-Arr-Clientcert",
		"X-Rewrite-Url", "X-Proxy-Url", "X-Accel-Redirect", "X-Sendfile", "X-Sub", "X-Subject", "X-Roles", "X-Role",
		"X-Groups", "X-Group", "X-Email", "X-Tenant-Identity", "X-Spiffe-Id", "X-Svid", "X-Principal", "X-Identity",
		"X-Impersonate-User", "X-Wap-Profile-User", "X-Http-Method", "X-Http-Method-Override", "X-Method-Override",
		"X-Method", "X-Webauth-User", "X-Webauth-Email", "X-Proxy-User", "X-Verified-User", "X-Account-Id":
		return true
	case "X-User-Agent": // gRPC-Web
		return false
	}
	return hasPrefix(name, "X-Forwarded", "X-Forwarder-", "X-Original-", "X-User", "X-Remote-", "X-Auth-", "X-Authenticated", "X-Palisade-",
		"X-Ssl-", "X-Client-Cert", "X-Amzn-Oidc-", "X-Amzn-Mtls-", "X-Goog-Authenticated-", "X-Goog-Iap-", "X-Ms-Client-Principal",
		"X-Envoy-", "X-Appengine-", "X-Rewrite-", "X-Jwt-", "X-Token-", "X-Id-Token", "X-Oauth-")
}

func hasPrefix(s string, prefixes ...string) bool {
	for _, p := range prefixes {
		if strings.HasPrefix(s, p) {
			return true
		}
	}
	return false
}

// isKnown reports whether anything here or in front of a back end acts on the name.
func isKnown(name string) bool {
	return isSingleton(name) || isHopByHop(name) || isClaim(name)
}
