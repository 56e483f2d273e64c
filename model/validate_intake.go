package model

import (
	"encoding/hex"
	"path/filepath"
	"strings"
)

// intake checks who may send log records, and how.
func (c *checker) intake() {
	in := c.Fleet.Intake
	if in == nil {
		return
	}
	c.address("intake.http", in.HTTP)
	c.address("intake.syslog", in.Syslog)
	c.size("intake.body", in.Body, 1<<10, 16<<20)
	c.size("intake.record", in.Record, 256, 64<<10)
	c.intakeTLS(in)
	if _, written := c.places["intake.sources"]; written && len(in.Sources) == 0 {
		c.fail("missing-value", "intake.sources", "expected at least one source, found none", "write orders: {service: orders, keys: [...]}")
	}
	taken := map[string]string{} // keys and certificates by where they stand
	for _, name := range sortedKeys(in.Sources) {
		c.source(join("intake.sources", name), name, in.Sources[name], taken)
	}
}

func (c *checker) intakeTLS(in *Intake) {
	listens := in.HTTP != "" || in.Syslog != ""
	_, written := c.places["intake.tls"]
	switch {
	case in.TLS.Local && len(in.TLS.Certificates) > 0:
		c.fail("tls-both", "intake.tls", "expected either certificates or local: true, found both", "remove one of them")
	case listens && !in.TLS.Local && len(in.TLS.Certificates) == 0:
		c.failKey("tls-neither", "intake", "expected tls with certificates or local: true, found neither", `write tls: {local: true} on a laptop, else tls: {certificates: [{cert: PATH, key: PATH}]}`)
	case !listens && written:
		c.warn("no-effect", "intake.tls", "without http and syslog nothing listens", "name an address, such as http: 0.0.0.0:4318")
	}
	for key, address := range map[string]string{"intake.http": in.HTTP, "intake.syslog": in.Syslog} {
		if in.TLS.Local && soundAddress(address) && address != "" && !loopback(address) {
			c.warn("local-certificate", key, "other machines do not know the local authority", "name certificates")
		}
	}
	if !listens && in.ClientCA != "" {
		c.warn("no-effect", "intake.client_ca", "without http and syslog nobody connects", "")
	}
}

// source checks one source. Keys and certificates belong to one source alone.
func (c *checker) source(key, name string, s Source, taken map[string]string) {
	if !IsName(name) {
		c.failKey("bad-name", key, badName(name), "")
	}
	if s.Service != "" {
		c.known("service", key+".service", s.Service, c.services)
	}
	own := func(at, value string) {
		if other, twice := taken[value]; twice {
			c.collide("duplicate-source", at, other, "two sources are known by the same", "give each source its own")
			return
		}
		taken[value] = at
	}
	for i, k := range s.Keys {
		at := index(key+".keys", i)
		if sum, err := hex.DecodeString(k); err != nil || len(sum) != 32 {
			c.fail("bad-key-hash", at, "expected the SHA-256 of a key, 64 hexadecimal digits", "write what this prints: printf %s \"$KEY\" | sha256sum")
			continue
		}
		own(at, strings.ToLower(k))
	}
	for i, n := range s.Certificates {
		at := index(key+".certificates", i)
		if !isSPIFFEID(n) && !isDNSName(n) {
			c.fail("bad-name", at, quote(n)+" is neither a SPIFFE ID nor a DNS name", "write spiffe://example.org/service/orders or host-1.example.org")
			continue
		}
		own(at, n)
	}
	c.collected(key, s, own)
	c.size(key+".bytes", s.Bytes, 1<<10, 1<<30)
	in := c.Fleet.Intake
	switch sends := len(s.Keys)+len(s.Certificates) > 0; {
	case !sends && len(s.Files) == 0 && !s.Journal:
		c.failKey("no-way-in", key, "nothing says how records of this source come in", "add keys, certificates, files or journal: true")
	case len(s.Keys) > 0 && in.HTTP == "":
		c.warn("no-effect", key+".keys", "keys are shown over HTTPS, and intake.http is not declared", "name an address: http: 0.0.0.0:4318")
	case len(s.Certificates) > 0 && in.HTTP == "" && in.Syslog == "":
		c.warn("no-effect", key+".certificates", "nothing listens", "name an address: http: 0.0.0.0:4318 or syslog: 0.0.0.0:6514")
	case len(s.Certificates) > 0 && in.ClientCA == "" && c.Fleet.Mesh == nil:
		c.fail("missing-key", key+".certificates", "no authority is declared whose certificates are believed", "add client_ca: PATH to intake")
	}
}

// collected checks what is read of this host.
func (c *checker) collected(key string, s Source, own func(at, value string)) {
	for i, path := range s.Files {
		at := index(key+".files", i)
		switch _, err := filepath.Match(path, ""); {
		case err != nil:
			c.fail("bad-path", at, quote(path)+" is no pattern", "close each bracket")
		case !strings.HasPrefix(path, "/") || filepath.Clean(path) != path:
			c.fail("bad-path", at, quote(path)+" is not an absolute path", "write it as it is where the edge runs")
		default:
			own(at, path)
		}
	}
	if s.Format != "" && len(s.Files) == 0 {
		c.warn("no-effect", key+".format", "no files are named", "add files")
	}
	if s.Journal {
		own(key+".journal", "journal")
	}
}

// isSPIFFEID follows the SPIFFE ID standard, section 2.
func isSPIFFEID(s string) bool {
	rest, ok := strings.CutPrefix(s, "spiffe://")
	domain, path, _ := strings.Cut(rest, "/")
	return ok && isTrustDomain(domain) && path != "" && !strings.ContainsAny(path, " ?#%") && !strings.Contains("/"+path+"/", "//") && !strings.Contains("/"+path+"/", "/../") && !strings.Contains("/"+path+"/", "/./")
}
