package gate

import (
	"maps"
	"slices"

	"github.com/palisade-security/palisade/keyring"
	"github.com/palisade-security/palisade/model"
)

// listeners checks that every listener can show certificates for what it serves, before anything starts.
func listeners(snap *model.Snapshot) []model.Finding {
	var findings []model.Finding
	for _, name := range slices.Sorted(maps.Keys(snap.Edge.Listeners)) {
		l := snap.Edge.Listeners[name]
		key := "edge.listeners." + name + ".tls"
		if l.TLS.Local {
			findings = append(findings, localNames(snap, key)...)
			continue
		}
		pairs := make([]keyring.Pair, len(l.TLS.Certificates))
		for i, c := range l.TLS.Certificates {
			pairs[i] = keyring.Pair{Cert: c.Cert, Key: c.Key}
		}
		if _, err := keyring.LoadCertificates(pairs); err != nil {
			findings = append(findings, model.Finding{Severity: model.Error, Code: "unusable-certificate", Key: key, Text: err.Error()})
		}
	}
	return findings
}

func localNames(snap *model.Snapshot, key string) []model.Finding {
	var findings []model.Finding
	for _, r := range snap.Routes {
		if err := keyring.CheckLocal(r.Host); err != nil {
			findings = append(findings, model.Finding{
				Severity: model.Error, Code: "not-a-local-name", Position: r.Position, Key: key,
				Text: err.Error(), Hint: "set tls.certificates, or expose the service under a name such as shop.localhost",
			})
		}
	}
	return findings
}
