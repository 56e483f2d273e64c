package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/palisade-security/palisade/model"
)

// variant is what a generated model has that another has not.
type variant int

const (
	asIs    variant = iota
	oneMore         // one service takes its calls for longer: it and its callers are told
	allMore         // SVIDs live for longer: everybody is told
)

const (
	controlDomain  = "bench.example"
	filesOf        = 200 // services in one file
	serviceCallers = 5
)

// fleetText writes a model of n services: each has five callers and four routes with users, methods and a limit, and one in
// twenty is exposed at the edge.
func fleetText(dir string, n int, v variant) ([]string, error) {
	lifetime := "1h"
	if v == allMore {
		lifetime = "2h"
	}
	var files []string
	var b strings.Builder
	flush := func() error {
		files = append(files, filepath.Join(dir, fmt.Sprintf("%03d.yaml", len(files))))
		defer b.Reset()
		return os.WriteFile(files[len(files)-1], []byte(b.String()), 0o600)
	}
	fmt.Fprintf(&b, `version: 1
fleet: bench
trust_domain: %s
edge: {listeners: {main: {address: "127.0.0.1:8443", tls: {local: true}}}}
providers: {login: {issuer: "https://login.example", audience: [bench], claims: {tenant: string}}}
roles: {customer: {}, clerk: {}, auditor: {includes: [clerk]}}
mesh: {svid: {lifetime: %s}}
services:
`, controlDomain, lifetime)
	for i := range n {
		if i%filesOf == filesOf-1 {
			if err := flush(); err != nil {
				return nil, err
			}
			b.WriteString("services:\n")
		}
		writeService(&b, i, n, v)
	}
	return files, flush()
}

func writeService(b *strings.Builder, i, n int, v variant) {
	timeout := "10s"
	if v == oneMore && i == 0 {
		timeout = "11s"
	}
	var callers []string
	for k := range min(serviceCallers, n-1) {
		callers = append(callers, fmt.Sprint("s", (i+1+k*k)%n))
	}
	fmt.Fprintf(b, `  s%d:
    address: http://10.%d.%d.1:8080
    callers: [%s]
    workloads: [{kubernetes: {namespace: bench, service_account: s%d}}]
    serve:
      - {path: /items, methods: [GET], timeout: %s}
      - {path: "/items/{id}", methods: [GET, PUT], users: [{roles: [customer, clerk]}]}
      - {path: /orders, methods: [POST], users: [{roles: [customer]}, {scopes: ["orders:write"]}], limits: [{per: service, rate: 50/s}]}
      - {path: /audit/**, methods: [GET], users: [{roles: [auditor]}]}
`, i, i/250, i%250, strings.Join(callers, ", "), i, timeout)
	if i%20 == 0 {
		fmt.Fprintf(b, "    expose: [{host: s%d.example, path: \"/items/{id}\", allow: [{roles: [customer], methods: [GET]}]}]\n", i)
	}
}

// fleetModel generates and compiles a model.
func fleetModel(n int, v variant) (_ *model.Snapshot, err error) {
	dir, err := os.MkdirTemp("", "palisade-bench-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	files, err := fleetText(dir, n, v)
	if err != nil {
		return nil, err
	}
	return compileModel(files)
}

func compileModel(files []string) (*model.Snapshot, error) {
	d, findings, err := model.Load(files...)
	if err != nil {
		return nil, err
	}
	if model.HasErrors(findings) {
		return nil, fmt.Errorf("the generated model has errors: %v", findings[0])
	}
	s, findings := d.Compile(model.Options{})
	if s == nil {
		return nil, fmt.Errorf("the generated model has errors: %v", findings[0])
	}
	return s, nil
}

// document is a model as administrators send it.
func document(n int, v variant) (version string, data json.RawMessage, err error) {
	s, err := fleetModel(n, v)
	if err != nil {
		return "", nil, err
	}
	data, err = json.Marshal(s)
	return s.Version, data, err
}
