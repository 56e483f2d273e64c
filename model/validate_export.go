package model

import (
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
)

// exportKind is what an export of a kind has beside the keys of all.
type exportKind struct {
	schemes []string // the first is the one to recommend
	port    string   // the usual one of http(s); empty: one must be written
	needs   []string
	takes   []string
	bare    bool // nothing stands behind the host of the URL
	sample  string
}

// exportKinds is a constant table.
var exportKinds = map[string]exportKind{
	"otlp":    {schemes: []string{"https", "http", "grpcs", "grpc"}, port: "443", takes: []string{"headers"}, sample: "https://collector.example:4318"},
	"elastic": {schemes: []string{"https", "http"}, port: "443", takes: []string{"index", "token", "user", "password"}, sample: "https://elastic.example:9200"},
	"loki":    {schemes: []string{"https", "http"}, port: "443", takes: []string{"tenant", "token", "user", "password"}, sample: "https://loki.example:3100"},
	"datadog": {schemes: []string{"https", "http"}, port: "443", needs: []string{"token"}, sample: "https://http-intake.logs.datadoghq.eu"},
	"splunk":  {schemes: []string{"https", "http"}, port: "443", needs: []string{"token"}, takes: []string{"index"}, sample: "https://splunk.example:8088"},
	"syslog":  {schemes: []string{"tls", "tcp"}, bare: true, sample: "tls://syslog.example:6514"},
	"kafka":   {schemes: []string{"tls", "tcp"}, needs: []string{"topic"}, takes: []string{"user", "password", "sasl"}, bare: true, sample: "tls://kafka.example:9093"},
	"s3":      {schemes: []string{"https", "http"}, port: "443", needs: []string{"bucket", "user", "password"}, takes: []string{"prefix", "region", "format"}, bare: true, sample: "https://s3.eu-central-1.amazonaws.com"},
}

// secured are the schemes with TLS.
func secured(scheme string) bool { return slices.Contains([]string{"https", "grpcs", "tls"}, scheme) }

// exports checks where events go.
func (c *checker) exports() {
	for _, name := range sortedKeys(c.Fleet.Export) {
		key := join("export", name)
		if !IsName(name) {
			c.failKey("bad-name", key, badName(name), "")
		}
		c.export(key, c.Fleet.Export[name])
	}
}

func (c *checker) export(key string, e Export) {
	kind, known := exportKinds[e.Kind]
	if !known {
		return // already reported
	}
	written := func(k string) bool { _, ok := c.places[key+"."+k]; return ok }
	for _, k := range []string{"user", "password", "token", "headers", "index", "tenant", "topic", "sasl", "bucket", "prefix", "region", "format"} {
		switch {
		case slices.Contains(kind.needs, k) && !written(k):
			c.failKey("missing-key", key, "an export of kind "+e.Kind+" needs the key "+quote(k), "")
		case written(k) && !slices.Contains(kind.needs, k) && !slices.Contains(kind.takes, k):
			c.fail("bad-export", key+"."+k, fmt.Sprintf("%q means nothing to kind %s", k, e.Kind), "remove it; such an export takes "+strings.Join(append([]string{"url", "where", "ca", "certificate"}, append(kind.needs, kind.takes...)...), ", "))
		}
	}
	if written("user") != written("password") && !slices.Contains(kind.needs, "user") {
		c.failKey("bad-export", key, "expected user and password, found one of them", "")
	}
	if written("user") && written("token") {
		c.failKey("bad-export", key, "expected token, or user and password, found both", "keep one of them")
	}
	for name, v := range map[string]Value{"password": e.Password, "token": e.Token} {
		c.onlyReference(key+"."+name, name, v)
	}
	for _, name := range sortedKeys(e.Headers) {
		at := join(key+".headers", name)
		if !isToken(name) {
			c.failKey("bad-header", at, fmt.Sprintf("%q is not a header name", name), "")
		}
		c.value(at, name, e.Headers[name])
	}
	if written("index") && (e.Index == "" || strings.ContainsAny(e.Index, `\/*?"<>| ,#:`) || e.Index != strings.ToLower(e.Index) || strings.HasPrefix(e.Index, "_")) {
		c.fail("bad-export", key+".index", quote(e.Index)+" is not the name of an index", "write lower-case letters, digits, dots and dashes")
	}
	if written("topic") && !isTopic(e.Topic) {
		c.fail("bad-export", key+".topic", quote(e.Topic)+" is not the name of a topic", "write at most 249 letters, digits, dots, dashes and underscores")
	}
	if written("sasl") && !written("user") {
		c.fail("bad-export", key+".sasl", "nobody signs in", "write user and password, or remove it")
	}
	c.object(key+".bucket", e.Bucket, key+".prefix", e.Prefix)
	c.exportURL(key, e, kind)
}

// object checks a bucket and what begins the names of its objects.
func (c *checker) object(bucketKey, bucket, prefixKey, prefix string) {
	if _, written := c.places[bucketKey]; written && !isBucket(bucket) {
		c.fail("bad-bucket", bucketKey, quote(bucket)+" is not the name of a bucket", "write 3 to 63 letters, digits, dots and dashes")
	}
	if _, written := c.places[prefixKey]; written && !isPrefix(prefix) {
		c.fail("bad-bucket", prefixKey, quote(prefix)+" does not begin names of objects", "write letters, digits and . _ = - with single slashes between")
	}
}

// auditBucket checks where segments of events lie.
func (c *checker) auditBucket() {
	b := c.Fleet.Audit.Bucket
	if b == nil {
		return
	}
	const key = "audit.bucket"
	c.object(key+".name", b.Name, key+".prefix", b.Prefix)
	c.onlyReference(key+".password", "password", b.Password)
	c.exportURL(key, Export{URL: b.URL, Password: b.Password}, exportKinds["s3"])
	if mesh := c.Fleet.Mesh; mesh != nil && mesh.Control.Store != (Value{}) {
		c.warn("no-effect", key, "controls that share a PostgreSQL keep the events there", "remove it, or export events with kind s3")
	}
}

// auditWitnesses checks who signs checkpoints of the ledger. Whether a key is one is found when it is read: it is none of the model's business.
func (c *checker) auditWitnesses() {
	seen := map[string]bool{}
	for i, w := range c.Fleet.Audit.Witnesses {
		key := fmt.Sprintf("audit.witnesses[%d]", i)
		u, err := url.Parse(w.URL)
		good := err == nil && u.Hostname() != "" && u.User == nil && u.RawQuery == "" && u.Fragment == "" && !u.ForceQuery
		secret := good && (u.Scheme == "https" || u.Scheme == "http" && loopback(net.JoinHostPort(u.Hostname(), or(u.Port(), "80"))))
		if w.URL != "" && !secret { // none is reported already
			c.fail("bad-url", key+".url", quote(redactURL(w.URL))+" is not where a witness can be", "write https://host:port and what stands before add-checkpoint")
		}
		if w.Key != "" && (strings.Count(w.Key, "+") < 2 || strings.ContainsAny(w.Key, " \t\r\n")) {
			c.fail("bad-key", key+".key", quote(w.Key)+" is no public key of a witness", "write the line of its witness.pub: name+id+base64")
		}
		if seen[w.Key] && w.Key != "" {
			c.fail("duplicate-witness", key+".key", "the same witness is named twice", "remove one of both")
		}
		seen[w.Key] = true
	}
}

const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

// madeOf tells whether a text has only some characters, and at least one.
func madeOf(s, of string) bool { return s != "" && strings.Trim(s, of) == "" }

// isBucket tells whether S3 can have a bucket of that name; old ones have capitals.
func isBucket(s string) bool {
	return madeOf(s, letters+"._-") && len(s) >= 3 && len(s) <= 63 && !strings.Contains(s, "..")
}

// isPrefix tells whether names of objects can begin so, and be names of files as well.
func isPrefix(s string) bool {
	for part := range strings.SplitSeq(s, "/") {
		if !madeOf(part, letters+"._=-") || part == "." || part == ".." {
			return false
		}
	}
	return len(s) <= 200
}

// isTopic tells whether Kafka can have a topic of that name.
func isTopic(s string) bool {
	return madeOf(s, letters+"._-") && len(s) <= 249 && s != "." && s != ".."
}

// onlyReference checks a secret, which is never written in the model.
func (c *checker) onlyReference(key, name string, v Value) {
	if _, written := c.places[key]; !written {
		return
	}
	if _, literal := c.places[key+".value"]; literal {
		c.fail("bad-reference", key, "expected a reference to the "+name+", found text", "write {from_file: PATH} or {from_env: NAME}, and replace the secret, for it may have been seen")
		return
	}
	c.value(key, name, v)
}

// exportURL checks where a server is and that no secret goes there in the clear.
func (c *checker) exportURL(key string, e Export, kind exportKind) {
	at := key + ".url"
	if e.URL == "" {
		return // already reported
	}
	u, err := url.Parse(e.URL)
	bad := err != nil || !slices.Contains(kind.schemes, u.Scheme) || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.ForceQuery
	if !bad {
		web := u.Scheme == "http" || u.Scheme == "https"
		bad = (!web || kind.bare) && strings.Trim(u.Path, "/") != "" || u.Port() == "" && (!web || kind.port == "")
	}
	if bad {
		c.fail("bad-url", at, fmt.Sprintf("%q is not %s://host:port", redactURL(e.URL), strings.Join(kind.schemes, "://host:port or ")), "write "+kind.sample+"; who signs in stands under other keys")
		return
	}
	if secured(u.Scheme) {
		return
	}
	for _, k := range []string{"ca", "certificate"} {
		if _, written := c.places[key+"."+k]; written {
			c.fail("bad-export", key+"."+k, "without TLS no certificate is looked at", "write "+kind.schemes[0]+":// in url")
		}
	}
	port := or(u.Port(), "80")
	switch {
	case loopback(net.JoinHostPort(u.Hostname(), port)):
	case e.Token != (Value{}) || e.Password != (Value{}) || len(e.Headers) > 0:
		c.fail("plain-secret", at, "a secret would leave this machine unencrypted", "write "+kind.schemes[0]+"://")
	default:
		c.warn("plain-http", at, "events leave this machine unencrypted", "write "+kind.schemes[0]+"://")
	}
}
