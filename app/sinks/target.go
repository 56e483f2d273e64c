package sinks

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/internal/bucket"
	"github.com/palisade-security/palisade/model"
	"github.com/palisade-security/palisade/sink"
	"github.com/palisade-security/palisade/sink/datadog"
	"github.com/palisade-security/palisade/sink/elastic"
	"github.com/palisade-security/palisade/sink/kafka"
	"github.com/palisade-security/palisade/sink/loki"
	"github.com/palisade-security/palisade/sink/objects"
	"github.com/palisade-security/palisade/sink/otlp"
	"github.com/palisade-security/palisade/sink/splunk"
	"github.com/palisade-security/palisade/sink/syslog"
	"github.com/palisade-security/palisade/store/segment"
)

// target makes the target of an export, and says at what pace it takes events. What it refers to is read here.
func (s *Sinks) target(e *model.ResolvedExport) (o sink.Options, err error) {
	token, err := s.resolve("token", e.Token)
	if err != nil {
		return o, err
	}
	password, err := s.resolve("password", e.Password)
	if err != nil {
		return o, err
	}
	u, err := url.Parse(e.URL)
	if err != nil {
		return o, errors.New("url: it cannot be read")
	}
	config, err := Secured(u, e.CA, e.Certificate)
	if err != nil {
		return o, err
	}
	switch e.Kind {
	case "otlp":
		headers := map[string]string{}
		for name, v := range e.Headers {
			if headers[name], err = s.resolve("headers."+name, v); err != nil {
				return o, err
			}
		}
		o.Target, err = otlp.New(otlp.Options{URL: e.URL, Headers: headers, TLS: config})
	case "elastic":
		o.Target = elastic.New(elastic.Options{URL: e.URL, Index: e.Index, Token: token, User: e.User, Password: password, TLS: config})
	case "loki":
		o.Target = loki.New(loki.Options{URL: e.URL, Tenant: e.Tenant, Token: token, User: e.User, Password: password, TLS: config})
	case "datadog":
		o.Target, o.Batch = datadog.New(datadog.Options{URL: e.URL, Token: token, TLS: config}), datadog.Bound()
	case "splunk":
		o.Target = splunk.New(splunk.Options{URL: e.URL, Token: token, Index: e.Index, TLS: config})
	case "kafka":
		o.Target, err = kafka.New(kafka.Options{Brokers: []string{u.Host}, Topic: e.Topic, User: e.User, Password: password, SASL: e.SASL, TLS: config})
	case "s3":
		o.Target, err = s.objects(e, password, config)
		o.Batch, o.Linger, o.Timeout = objects.Bound(), objects.Linger, objects.Timeout
	case "syslog":
		o.Target, o.Batch = syslog.New(syslog.Options{Address: u.Host, TLS: config, Hostname: s.opts.Host}), syslog.Bound()
	default:
		return o, fmt.Errorf("kind: %q is unknown here", e.Kind)
	}
	return o, err
}

func (s *Sinks) objects(e *model.ResolvedExport, password string, config *tls.Config) (sink.Target, error) {
	b, err := bucket.New(bucket.Options{URL: e.URL, Bucket: e.Bucket, Prefix: e.Prefix, Region: e.Region, User: e.User, Password: password, TLS: config})
	if err != nil {
		return nil, err
	}
	o := objects.Options{Bucket: b, Host: s.opts.Host, Dir: s.dir(e.Name)}
	if e.Format == "parquet" {
		o.Parquet = sealed
	}
	return objects.New(o), nil
}

// sealed writes records as the store writes segments.
func sealed(dir, name string, records []sink.Record) (sum uint32, err error) {
	block := segment.NewBlock(len(records))
	var run []*event.Event // with numbers without a gap
	for i, r := range records {
		if err := segment.Check(r.Event); err != nil {
			return 0, &sink.RefusedError{Reason: err.Error()}
		}
		run = append(run, r.Event)
		if i+1 == len(records) || records[i+1].Number != r.Number+1 {
			block.Append(segment.NewBatch(run), r.Number+1-uint64(len(run)))
			run = run[:0]
		}
	}
	from := []segment.Chunk{block.View()}
	rows, err := segment.Order(from)
	if err != nil {
		return 0, err
	}
	info, err := segment.Write(dir, name, from, rows)
	if err != nil {
		return 0, err
	}
	return info.Sum, nil
}

func (s *Sinks) resolve(key string, v model.Value) (string, error) {
	if v == (model.Value{}) {
		return "", nil
	}
	text, err := v.Resolve(s.opts.Getenv)
	if err != nil {
		return "", fmt.Errorf("%s: %w", key, err)
	}
	return text, nil
}

// Secured is how the server at a URL is verified, and what is shown to it; nil without TLS.
func Secured(u *url.URL, ca string, certificate *model.Certificate) (*tls.Config, error) {
	switch u.Scheme {
	case "https", "grpcs", "tls":
	default:
		return nil, nil //nolint:nilnil // nil is TCP without TLS to all who take it
	}
	host := u.Host
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: host}
	if ca != "" {
		text, err := os.ReadFile(ca)
		if err != nil {
			return nil, fmt.Errorf("ca: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("ca: no certificate in %q", ca)
		}
	}
	if certificate != nil {
		load := func() (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(certificate.Cert, certificate.Key)
			return &pair, err
		}
		if _, err := load(); err != nil {
			return nil, fmt.Errorf("certificate: %w", err)
		}
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return load() } // it may be renewed
	}
	return config, nil
}
