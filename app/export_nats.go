package app

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/palisade-security/palisade/app/mesh"
	"github.com/palisade-security/palisade/bus"
	"github.com/palisade-security/palisade/model"
)

// ExportNATS writes the part of a nats-server configuration that makes the server of a service ask its sidecar who
// connects and what for. It makes the keys that the model names, if their file is not there; the configuration holds
// public keys alone.
func ExportNATS(o *Options, service string) error {
	_, snap, findings, err := o.load(true)
	if err != nil {
		return errors.Join(err, o.printFindings(o.Err, findings))
	}
	s := snap.ServiceByName(service)
	if s == nil || s.Broker == "" {
		return fmt.Errorf("no broker is named %q in the model; write broker: nats at its service", service)
	}
	keys, err := brokerKeys(o, s)
	if err != nil {
		return fmt.Errorf("services.%s.broker_keys: %w", service, err)
	}
	text, err := keys.ServerConfig()
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(o.Out, "# Made by palisade export nats %s: this server asks its sidecar who connects and what for.\n"+
		"# Include it beside listen and jetstream; accounts, users and authorization stand here alone.\n%s", service, text)
	return err
}

// brokerKeys reads the keys of a broker, or makes them.
func brokerKeys(o *Options, s *model.ResolvedService) (*bus.Keys, error) {
	text, err := s.Keys.Resolve(os.LookupEnv)
	if err == nil {
		return bus.ParseKeys([]byte(text))
	}
	if s.Keys.FromFile == "" || !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	keys, err := bus.NewKeys()
	if err != nil {
		return nil, err
	}
	secret, err := keys.Marshal()
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(s.Keys.FromFile, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("making the keys: %w", err)
	}
	_, err = f.Write(secret)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return nil, fmt.Errorf("making the keys: %w", err)
	}
	fmt.Fprintf(o.Err, "made %s: keep it secret; every sidecar of %s needs it\n", s.Keys.FromFile, s.Name)
	return keys, nil
}

// brokerFindings are what the brokers of a model could not hold.
func brokerFindings(snap *model.Snapshot) (out []model.Finding) {
	for i := range snap.Services {
		s := &snap.Services[i]
		if err := mesh.CheckBroker(s); err != nil {
			out = append(out, model.Finding{Severity: model.Error, Code: "bad-subject", Position: s.Position, Key: "services." + s.Name + ".broker", Text: err.Error()})
		}
	}
	return out
}
