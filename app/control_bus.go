package app

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"time"

	"github.com/palisade-security/palisade/control"
)

// BusServer writes what a server of an external bus needs into a folder: its SVID and key, whom it trusts, and the part of
// its configuration that lets control decide about connections. It needs what control stands on, and no control.
func BusServer(ctx context.Context, o *Options, name, folder string) (err error) {
	_, snap, findings, err := o.forOthers().load(false)
	o.tell(findings)
	if err != nil {
		return err
	}
	state, err := o.state()
	if err != nil {
		return err
	}
	s := &stand{snap: snap, mesh: snap.Mesh, state: state}
	defer func() { err = errors.Join(err, s.close()) }()
	options, err := s.open(ctx, ControlPlace{})
	if err != nil {
		return err
	}
	if len(options.Bus.URLs) == 0 {
		return errors.New("mesh.control.bus.urls: the model names no servers, and control runs its own")
	}
	out, err := control.MakeBusServer(ctx, *options, name, administrator())
	if err != nil {
		return sameRing(err)
	}
	if folder, err = filepath.Abs(folder); err != nil {
		return fmt.Errorf("finding the folder: %w", err)
	}
	if err := makeFolder(folder); err != nil {
		return err
	}
	at := func(name string) string { return filepath.Join(folder, name) }
	config := func(cert, roots string) []byte {
		return fmt.Appendf(nil, "tls { cert_file: %q, key_file: %q, ca_file: %q, verify: true, timeout: 5 }\n%s", at(cert), at("key.pem"), at(roots), out.Config)
	}
	if out.Chain == nil { // another issuer gives them
		if err := replaceFile(at("palisade.conf"), config("svid.pem", "bundle.pem")); err != nil {
			return err
		}
		_, err = fmt.Fprintf(o.Err, "%s for bus/%s; its SVID comes from the Workload API of its host: palisade svid --write %s --socket SOCKET --watch --reload 'nats-server --signal reload'\n", folder, name, folder)
		return err
	}
	for _, f := range []struct {
		name string
		data []byte
	}{{"key.pem", out.Key}, {"cert.pem", out.Chain}, {"roots.pem", out.Roots}, {"palisade.conf", config("cert.pem", "roots.pem")}} {
		if err := replaceFile(at(f.name), f.data); err != nil {
			return err
		}
	}
	_, err = fmt.Fprintf(o.Err, "%s for bus/%s; its SVID ends %s\n", folder, name, out.Ends.Local().Format(time.DateTime))
	return err
}

// administrator is who runs this process, for the record.
func administrator() string {
	if u, err := user.Current(); err == nil {
		return "local:" + u.Username
	}
	return fmt.Sprintf("uid:%d", os.Getuid())
}

// replaceFile writes a file that nobody else reads, whole or not at all.
func replaceFile(path string, data []byte) error {
	fresh := path + ".new"
	err := os.WriteFile(fresh, data, 0o600)
	if err == nil {
		err = os.Rename(fresh, path)
	}
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return nil
}
