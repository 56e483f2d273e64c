package model

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
)

// maxSecret bounds a file that a value is read from, in bytes.
const maxSecret = 64 << 10

var errNoValue = errors.New("the value it refers to is missing or empty")

// Resolve returns the literal, or what the reference names. A file's trailing line break is not part of the
// value. Paths must be absolute, as Compile makes them; the error never holds the value.
func (v Value) Resolve(getenv func(string) (string, bool)) (string, error) {
	switch {
	case v.FromEnv != "":
		text, ok := getenv(v.FromEnv)
		if !ok || text == "" {
			return "", fmt.Errorf("environment variable %q: %w", v.FromEnv, errNoValue)
		}
		return text, nil
	case v.FromFile != "":
		text, err := readBounded(v.FromFile, maxSecret)
		if err != nil {
			return "", err
		}
		trimmed := strings.TrimRight(string(text), "\r\n")
		if trimmed == "" {
			return "", fmt.Errorf("file %q: %w", v.FromFile, errNoValue)
		}
		return trimmed, nil
	default:
		return v.Value, nil
	}
}

// value makes a reference absolute and makes sure that it leads somewhere.
func (c *compiler) value(key string, v Value) Value {
	written := v.FromFile
	v.FromFile = c.absolute(key+".from_file", v.FromFile)
	if _, err := v.Resolve(c.options.Getenv); err != nil && !c.options.Elsewhere {
		switch {
		case v.FromEnv != "":
			c.report(Error, "missing-reference", key+".from_env", "environment variable "+quote(v.FromEnv)+" is not set", "export it before the start")
		case errors.Is(err, errNoValue):
			c.report(Error, "missing-reference", key+".from_file", "file "+quote(written)+" is empty", "")
		default:
			c.report(Error, "missing-reference", key+".from_file", unreadable(written, err), "")
		}
	}
	return v
}

func (c *compiler) telemetry() Telemetry {
	t := c.Fleet.Telemetry
	if t.OTLP != "" {
		t.Sample = or(t.Sample, DefaultSample)
	}
	if len(t.Headers) > 0 {
		headers := make(map[string]Value, len(t.Headers))
		for _, name := range sortedKeys(t.Headers) {
			headers[name] = c.value(join("telemetry.headers", name), t.Headers[name])
		}
		t.Headers = headers
	}
	return t
}

// audit resolves where records are kept: relative to the file that says so. Without a word of it they are kept
// with the gateway's other state.
func (c *compiler) audit() Audit {
	a := c.Fleet.Audit
	a.Mode = or(a.Mode, DefaultAuditMode)
	a.Keep = or(a.Keep, DefaultAuditKeep)
	a.Shapes = or(a.Shapes, DefaultShapes)
	a.Dir = c.absolute("audit.dir", a.Dir)
	a.Redact = redacted(Fleet{Audit: a})
	if a.Bucket != nil {
		b := *a.Bucket
		b.Password, b.CA, b.Disk = c.reference("audit.bucket.password", b.Password), c.present("audit.bucket.ca", b.CA), or(b.Disk, DefaultAuditDisk)
		a.Bucket = &b
	}
	a.Witnesses = slices.Clone(a.Witnesses)
	for i := range a.Witnesses {
		a.Witnesses[i].CA = c.present(fmt.Sprintf("audit.witnesses[%d].ca", i), a.Witnesses[i].CA)
	}
	return a
}

// environment checks what "palisade up" will hand to the commands it starts.
func (c *compiler) environment() {
	if !c.options.Development {
		return
	}
	for _, name := range sortedKeys(c.Fleet.Services) {
		run := c.Fleet.Services[name].Run
		if run == nil {
			continue
		}
		key := join("services", name) + ".run"
		for _, variable := range sortedKeys(run.Env) {
			c.value(join(key+".env", variable), run.Env[variable])
		}
		if run.Dir != "" && !isDir(c.absolute(key+".dir", run.Dir)) {
			c.report(Error, "unreadable-file", key+".dir", "no directory "+quote(run.Dir), "")
		}
	}
}

// hostOf returns the host of a service's address, without port.
func hostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return u.Hostname()
}

func certificates(text []byte) bool {
	found := false
	for {
		var block *pem.Block
		block, text = pem.Decode(text)
		if block == nil {
			return found
		}
		if _, err := x509.ParseCertificate(block.Bytes); block.Type != "CERTIFICATE" || err != nil {
			return false
		}
		found = true
	}
}

// portOf returns host and port of host:port, where both must be there.
func portOf(address string) (host, port string, ok bool) {
	host, port, err := net.SplitHostPort(address)
	return host, port, err == nil && port != ""
}

// folder is where the file stands that says the key.
func (d *Declared) folder(key string) string {
	absolute, err := filepath.Abs(filepath.Dir(d.at(key).File))
	if err != nil {
		return filepath.Dir(d.at(key).File)
	}
	return absolute
}
