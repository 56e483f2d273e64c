package model

import (
	"net/url"
	"slices"
	"strings"
)

// controlConsole checks how the console is served over the network.
func (c *checker) controlConsole(key string, m *MeshControl) {
	o := m.Console
	if _, written := c.places[key+".url"]; written {
		c.consoleURL(key+".url", o.URL)
	}
	c.address(key+".listen", o.Listen)
	_, written := c.places[key+".tls"]
	switch {
	case o.TLS.Local && len(o.TLS.Certificates) > 0:
		c.fail("tls-both", key+".tls", "expected either certificates or local: true, found both", "remove one of them")
	case written && !o.TLS.Local && len(o.TLS.Certificates) == 0:
		c.fail("tls-neither", key+".tls", "expected certificates or local: true, found neither", `write certificates: [{cert: PATH, key: PATH}], or local: true on a laptop`)
	}
	if _, written := c.places[key+".client_id"]; written {
		c.blanks(key, []string{o.ClientID})
	}
	if _, literal := c.places[key+".client_secret.value"]; literal {
		c.fail("bad-reference", key+".client_secret", "expected a reference to the secret, found text", "write {from_file: PATH} or {from_env: NAME}")
	} else if _, written := c.places[key+".client_secret"]; written {
		c.value(key+".client_secret", "client_secret", o.ClientSecret)
	}
	for i, s := range o.Scopes {
		if s == "" || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' || r == '"' || r == '\\' }) {
			c.fail("bad-scope", index(key+".scopes", i), quote(s)+" is no scope (RFC 6749, section 3.3)", "")
		}
	}
	if m.Administrators == nil {
		c.failKey("missing-key", key, "nobody could sign in: mesh.control.administrators names no provider", "declare it, with the roles that may look")
	} else if p := c.Fleet.Providers[m.Administrators.Provider]; slices.Contains(p.Audience, o.ClientID) || slices.Contains(m.Administrators.Audience, o.ClientID) {
		c.fail("shared-audience", key+".client_id", quote(o.ClientID)+" is also the audience of access tokens, which must not open the console", "let the provider know the console under a name of its own")
	}
}

// consoleURL checks where browsers find the console: a host of its own, since it has the whole of it.
func (c *checker) consoleURL(key, text string) {
	u, err := url.Parse(text)
	if err == nil && u.Scheme == "https" && u.Host != "" && (strings.TrimSuffix(u.Path, "/") != "" || u.RawQuery != "" || u.ForceQuery) {
		c.fail("bad-url", key, "the console has the whole of its host, and no path there", "write https://host:port")
		return
	}
	c.https(key, text)
}
