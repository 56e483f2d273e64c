package sinks

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"

	"github.com/palisade-security/palisade/model"
	"github.com/palisade-security/palisade/sink"
	"github.com/palisade-security/palisade/sink/datadog"
	"github.com/palisade-security/palisade/sink/elastic"
	"github.com/palisade-security/palisade/sink/kafka"
	"github.com/palisade-security/palisade/sink/loki"
	"github.com/palisade-security/palisade/sink/otlp"
	"github.com/palisade-security/palisade/sink/splunk"
	"github.com/palisade-security/palisade/sink/syslog"
)

// target makes the target of an export. What it refers to is read here.
func (s *Sinks) target(e *model.Export) (sink.Target, sink.Bound, error) {
	token, err := s.resolve("token", e.Token)
	if err != nil {
		return nil, sink.Bound{}, err
	}
	password, err := s.resolve("password", e.Password)
	if err != nil {
		return nil, sink.Bound{}, err
	}
	u, err := url.Parse(e.URL)
	if err != nil {
		return nil, sink.Bound{}, errors.New("url: it cannot be read")
	}
	config, err := secured(e, u)
	if err != nil {
		return nil, sink.Bound{}, err
	}
	switch e.Kind {
	case "otlp":
		headers := map[string]string{}
		for name, v := range e.Headers {
			if headers[name], err = s.resolve("headers."+name, v); err != nil {
				return nil, sink.Bound{}, err
			}
		}
		t, err := otlp.New(otlp.Options{URL: e.URL, Headers: headers, TLS: config})
		return t, sink.Bound{}, err
	case "elastic":
		return elastic.New(elastic.Options{URL: e.URL, Index: e.Index, Token: token, User: e.User, Password: password, TLS: config}), sink.Bound{}, nil
	case "loki":
		return loki.New(loki.Options{URL: e.URL, Tenant: e.Tenant, Token: token, User: e.User, Password: password, TLS: config}), sink.Bound{}, nil
	case "datadog":
		return datadog.New(datadog.Options{URL: e.URL, Token: token, TLS: config}), datadog.Bound(), nil
	case "splunk":
		return splunk.New(splunk.Options{URL: e.URL, Token: token, Index: e.Index, TLS: config}), sink.Bound{}, nil
	case "kafka":
		t, err := kafka.New(kafka.Options{Brokers: []string{u.Host}, Topic: e.Topic, User: e.User, Password: password, SASL: e.SASL, TLS: config})
		return t, sink.Bound{}, err
	case "syslog":
		return syslog.New(syslog.Options{Address: u.Host, TLS: config, Hostname: s.opts.Host}), syslog.Bound(), nil
	}
	return nil, sink.Bound{}, fmt.Errorf("kind: %q is unknown here", e.Kind)
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

// secured is how the server is verified, and what is shown to it; nil without TLS.
func secured(e *model.Export, u *url.URL) (*tls.Config, error) {
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
	if e.CA != "" {
		text, err := os.ReadFile(e.CA)
		if err != nil {
			return nil, fmt.Errorf("ca: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("ca: no certificate in %q", e.CA)
		}
	}
	if e.Certificate != nil {
		load := func() (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(e.Certificate.Cert, e.Certificate.Key)
			return &pair, err
		}
		if _, err := load(); err != nil {
			return nil, fmt.Errorf("certificate: %w", err)
		}
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return load() } // it may be renewed
	}
	return config, nil
}
