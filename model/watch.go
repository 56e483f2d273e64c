package model

import (
	"os"
	"path/filepath"
	"slices"
)

// Files returns every file the model is made of, absolute and sorted: the model itself, policies, API documents,
// certificates, keys, key sets and files of values. A file that is named but missing is in the list, so that a
// watcher sees it appear; which policies a directory holds is looked up on every call.
func (d *Declared) Files() []string {
	c := &compiler{Declared: d, options: Options{}}
	files := slices.Clone(d.files)
	add := func(key, path string) {
		if path != "" {
			files = append(files, c.absolute(key, path))
		}
	}
	for _, name := range sortedKeys(d.Fleet.Edge.Listeners) {
		key := join("edge.listeners", name) + ".tls.certificates"
		for i, pair := range d.Fleet.Edge.Listeners[name].TLS.Certificates {
			add(index(key, i)+".cert", pair.Cert)
			add(index(key, i)+".key", pair.Key)
		}
	}
	for _, name := range sortedKeys(d.Fleet.Providers) {
		add(join("providers", name)+".jwks_file", d.Fleet.Providers[name].JWKSFile)
	}
	for _, name := range sortedKeys(d.Fleet.Services) {
		key, s := join("services", name), d.Fleet.Services[name]
		add(key+".api", s.API)
		add(key+".upstream.ca", s.Upstream.CA)
	}
	for _, name := range sortedKeys(d.Fleet.Telemetry.Headers) {
		add(join("telemetry.headers", name)+".from_file", d.Fleet.Telemetry.Headers[name].FromFile)
	}
	if m := d.Fleet.Mesh; m != nil {
		if u := m.Issuer.Upstream; u != nil {
			add("mesh.issuer.upstream.chain", u.Chain)
			add("mesh.issuer.upstream.key.from_file", u.Key.FromFile)
		}
		if n := m.Control.Certificates; n != nil {
			add("mesh.control.certificates.roots", n.Roots)
		}
		for _, name := range sortedKeys(m.Federation) {
			add(join("mesh.federation", name)+".bundle", m.Federation[name].Bundle)
		}
	}
	for i, path := range d.Fleet.Policies {
		key := index("policies", i)
		if path == "" {
			continue
		}
		if !isDir(c.absolute(key, path)) {
			add(key, path)
			continue
		}
		if found, ok := c.policyFiles(key, path); ok {
			for _, file := range found {
				add(key, file)
			}
		}
	}
	return sorted(files)
}

// Dirs returns the directories in which a new file can become part of the model, absolute and sorted: those that
// Load looked through and those with policies.
func (d *Declared) Dirs() []string {
	c := &compiler{Declared: d, options: Options{}}
	dirs := slices.Clone(d.dirs)
	for i, path := range d.Fleet.Policies {
		if absolute := c.absolute(index("policies", i), path); path != "" && isDir(absolute) {
			dirs = append(dirs, filepath.Clean(absolute))
		}
	}
	return sorted(dirs)
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}
