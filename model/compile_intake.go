package model

import (
	"slices"
	"strings"
)

// intake fills in the defaults of the intake and looks at its certificates.
func (c *compiler) intake() *ResolvedIntake {
	in := c.Fleet.Intake
	if in == nil {
		return nil
	}
	r := &ResolvedIntake{HTTP: in.HTTP, Syslog: in.Syslog, TLS: in.TLS, Body: or(in.Body, DefaultIntakeBody), Record: or(in.Record, DefaultIntakeRecord)}
	if in.HTTP != "" || in.Syslog != "" {
		r.TLS.MinVersion = or(r.TLS.MinVersion, DefaultMinVersion)
	}
	r.TLS.Certificates = slices.Clone(in.TLS.Certificates)
	for i := range r.TLS.Certificates {
		r.TLS.Certificates[i] = c.certificate(index("intake.tls.certificates", i), r.TLS.Certificates[i])
	}
	if in.ClientCA != "" {
		r.Roots = c.roots("intake.client_ca", in.ClientCA)
	}
	for _, name := range sortedKeys(in.Sources) {
		s := in.Sources[name]
		s.Records, s.Bytes = or(s.Records, DefaultSourceRecords), or(s.Bytes, DefaultSourceBytes)
		s.Keys = slices.Clone(s.Keys)
		for i := range s.Keys {
			s.Keys[i] = strings.ToLower(s.Keys[i])
		}
		if len(s.Files) > 0 {
			s.Format = or(s.Format, DefaultIntakeFormat)
		}
		r.Sources = append(r.Sources, ResolvedSource{Name: name, Source: s})
	}
	return r
}
