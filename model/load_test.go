package model

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"
)

// shop unpacks the golden model of the shop and loads it.
func shop(t *testing.T) *Declared {
	t.Helper()
	archive, err := txtar.ParseFile("testdata/compile/shop.txtar")
	if err != nil {
		t.Fatal(err)
	}
	unpack(t, archive.Files, "")
	d, findings, err := Load(".")
	if err != nil || len(findings) > 0 {
		t.Fatal(err, findings)
	}
	return d
}

func TestFiles(t *testing.T) {
	d := shop(t)
	wd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	var files, dirs []string
	for _, f := range d.Files() {
		files = append(files, strings.TrimPrefix(f, wd+"/"))
	}
	for _, f := range d.Dirs() {
		dirs = append(dirs, strings.TrimPrefix(strings.TrimPrefix(f, wd), "/"))
	}
	want := []string{
		"api/orders.yaml", "extra.cedar", "keys/login.json", "orders.palisade.yaml", "palisade.d/web.yaml",
		"palisade.yaml", "policies/a.cedar", "policies/b.cedar", "secret.txt",
	}
	if !reflect.DeepEqual(files, want) {
		t.Errorf("Files = %q, want %q", files, want)
	}
	if want := []string{"", "palisade.d", "policies"}; !reflect.DeepEqual(dirs, want) {
		t.Errorf("Dirs = %q, want %q", dirs, want)
	}
}

func TestProcesses(t *testing.T) {
	processes := shop(t).Processes()
	var order []string
	for _, p := range processes {
		order = append(order, p.Service+" after "+strings.Join(p.After, ","))
		if !filepath.IsAbs(p.Dir) || len(p.Command) == 0 {
			t.Errorf("%+v cannot be started", p)
		}
	}
	// web names mail in After and calls orders; orders calls mail.
	if want := []string{"mail after ", "orders after mail", "web after mail,orders"}; !reflect.DeepEqual(order, want) {
		t.Errorf("started %q, want %q", order, want)
	}
	if got := processes[1].Env["PORT"].Value; got != "7001" {
		t.Errorf("PORT = %q", got)
	}
}

// TestProcessesInACircle shows that services that call each other are started all the same.
func TestProcessesInACircle(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "palisade.yaml"), `
version: 1
fleet: shop
trust_domain: shop.example
edge: {listeners: {main: {address: "127.0.0.1:8443", tls: {local: true}}}}
services:
  a: {address: "http://127.0.0.1:1", callers: [b], run: {command: [a]}}
  b: {address: "http://127.0.0.1:2", callers: [a], run: {command: [b], after: [a]}}
`)
	d, findings, err := Load(dir)
	if err != nil || len(findings) > 0 {
		t.Fatal(err, findings)
	}
	var seen []string
	for _, p := range d.Processes() {
		seen = append(seen, p.Service+" after "+strings.Join(p.After, ","))
	}
	if want := []string{"a after ", "b after a"}; !reflect.DeepEqual(seen, want) {
		t.Errorf("started %q, want %q", seen, want)
	}
}

func TestLookups(t *testing.T) {
	s, findings := shop(t).Compile(Options{
		Development: true,
		Getenv:      func(string) (string, bool) { return "planted", true },
	})
	if s == nil {
		t.Fatal(findings)
	}
	if got := s.ServiceByName("orders"); got == nil || got.Owner != "team-orders" {
		t.Errorf("ServiceByName = %v", got)
	}
	if s.ServiceByName("nobody") != nil || s.RouteByID("") != nil {
		t.Error("found what is not there")
	}
	for _, r := range s.Routes {
		if got := s.RouteByID(r.ID); got == nil || got.Path != r.Path {
			t.Errorf("RouteByID(%q) = %v", r.ID, got)
		}
	}
}

func TestResolve(t *testing.T) {
	file := filepath.Join(t.TempDir(), "value")
	write(t, file, "from the file\r\n")
	getenv := func(name string) (string, bool) { return "from the environment", name == "SET" }
	for _, c := range []struct {
		value   Value
		want    string
		missing bool
	}{
		{Value{Value: "literal"}, "literal", false},
		{Value{FromEnv: "SET"}, "from the environment", false},
		{Value{FromEnv: "UNSET"}, "", true},
		{Value{FromFile: file}, "from the file", false},
		{Value{FromFile: file + "x"}, "", true},
	} {
		got, err := c.value.Resolve(getenv)
		if got != c.want || (err != nil) != c.missing {
			t.Errorf("%+v resolves to %q, %v", c.value, got, err)
		}
	}
}

func TestLoadErrors(t *testing.T) {
	if d, findings, err := Load(filepath.Join(t.TempDir(), "palisade.yaml")); !errors.Is(err, fs.ErrNotExist) || d != nil || findings != nil {
		t.Errorf("Load of nothing = %v, %v, %v", d, findings, err)
	}
}

func TestTooMany(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "palisade.yaml", "roles:\n"+strings.Repeat("  A: 1\n", 2000)+"policies:\n"+strings.Repeat("- 1\n", 2000))
	d, findings, err := Load("palisade.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if len(findings) != maxFindings+1 || findings[maxFindings].Code != "too-many" {
		t.Errorf("%d findings, the last %v", len(findings), findings[len(findings)-1])
	}
	if s, findings := d.Compile(Options{}); s != nil || len(findings) != maxFindings+1 {
		t.Errorf("compiled with %d findings", len(findings))
	}
}

func TestCertificates(t *testing.T) {
	t.Chdir(t.TempDir())
	pair(t, "good", time.Now().Add(time.Hour))
	pair(t, "expired", time.Now().Add(-time.Hour))
	base := func(cert, key, ca string) string {
		return `
version: 1
fleet: shop
trust_domain: shop.example
edge: {listeners: {main: {address: ":8443", tls: {certificates: [{cert: ` + cert + `, key: ` + key + `}]}}}}
services: {web: {address: "https://127.0.0.1:1", upstream: {ca: ` + ca + `}, expose: [{host: localhost, path: /, allow: [{anyone: true}]}]}}
`
	}
	for _, c := range []struct{ cert, key, ca, code string }{
		{"good.crt", "good.key", "good.crt", ""},
		{"expired.crt", "expired.key", "good.crt", "expired-certificate"},
		{"good.crt", "expired.key", "good.crt", "bad-certificate"},
		{"good.crt", "good.key", "good.key", "bad-certificate"},
	} {
		write(t, "palisade.yaml", base(c.cert, c.key, c.ca))
		d, _, err := Load("palisade.yaml")
		if err != nil {
			t.Fatal(err)
		}
		s, findings := d.Compile(Options{})
		if c.code == "" && (s == nil || len(s.Services[0].CA) == 0 || s.Edge.Listeners["main"].HSTS.MaxAge != DefaultHSTS) {
			t.Errorf("good certificates: %v", findings)
		}
		if c.code != "" && (len(findings) != 1 || findings[0].Code != c.code) {
			t.Errorf("%v: %v, want %s", c, findings, c.code)
		}
	}
}

// pair writes a self-signed certificate and its key.
func pair(t *testing.T, name string, end time.Time) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: end.Add(-2 * time.Hour), NotAfter: end}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	write(t, name+".crt", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})))
	write(t, name+".key", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})))
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestSnapshotHoldsNoSecret plants values behind references and looks for them.
func TestSnapshotHoldsNoSecret(t *testing.T) {
	d := shop(t)
	s, findings := d.Compile(Options{Development: true, Getenv: func(string) (string, bool) { return "planted", true }})
	if s == nil {
		t.Fatal(findings)
	}
	travels(t, s)
	var out bytes.Buffer
	for _, headers := range s.Telemetry.Headers {
		out.WriteString(headers.Value)
	}
	if out.Len() != 0 {
		t.Errorf("the snapshot holds %q", out.String())
	}
}

func TestDidYouMean(t *testing.T) {
	known := []string{"address", "callers", "expose"}
	for word, want := range map[string]string{
		"adress": `did you mean "address"?`, "addrses": `did you mean "address"?`, "Expose": `did you mean "expose"?`,
		"caller": `did you mean "callers"?`, "zebra": "", "": "", strings.Repeat("a", 100): "",
	} {
		if got := didYouMean(word, known); got != want {
			t.Errorf("didYouMean(%q) = %q, want %q", word, got, want)
		}
	}
}

// FuzzLoad feeds one file to everything that reads a model. Nothing may panic, and a snapshot that is made must
// survive its way as text.
func FuzzLoad(f *testing.F) {
	for _, pattern := range []string{"testdata/compile/*.txtar", "testdata/wrong/*.txtar"} {
		matches, err := filepath.Glob(pattern)
		if err != nil {
			f.Fatal(err)
		}
		for _, m := range matches {
			archive, err := txtar.ParseFile(m)
			if err != nil {
				f.Fatal(err)
			}
			for _, file := range archive.Files {
				if strings.HasSuffix(file.Name, ".yaml") && len(file.Data) < 4096 {
					f.Add(file.Data)
				}
			}
		}
	}
	base, err := os.ReadFile("testdata/base.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(base)
	f.Fuzz(func(t *testing.T, text []byte) {
		if len(text) > maxFile {
			return
		}
		d := &Declared{places: make(map[string]place), files: []string{"fuzz.yaml"}}
		dec := &decoder{places: d.places}
		dec.decode("fuzz.yaml", text, &d.Fleet)
		if !dec.broken {
			dec.required(reflect.ValueOf(d.Fleet), "", Position{File: "fuzz.yaml"}, dec.reported())
		}
		d.wrong = dec.reported()
		d.findings = settle(append(dec.findings, validate(d)...))
		var out bytes.Buffer
		if err := FormatFindings(&out, d.findings); err != nil {
			t.Fatal(err)
		}
		// Paths that hostile text names are not followed: only what needs no file is compiled.
		d.Fleet.Policies, d.Fleet.Edge.Listeners = nil, nil
		for name, s := range d.Fleet.Services {
			s.API, s.Upstream.CA = "", ""
			d.Fleet.Services[name] = s
		}
		d.Fleet.Providers, d.Fleet.Telemetry.Headers = nil, nil
		s, findings := d.Compile(Options{Getenv: func(string) (string, bool) { return "", false }})
		if (s == nil) != HasErrors(findings) {
			t.Fatalf("snapshot %v with %v", s != nil, findings)
		}
		if s != nil {
			travels(t, s)
		}
		d.Processes()
	})
}
