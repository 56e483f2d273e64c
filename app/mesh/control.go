package mesh

import (
	"context"

	"github.com/palisade-security/palisade/identity/peer"
	"github.com/palisade-security/palisade/identity/workload"
)

// Control is the identity that control would have, under which the ledger is shown: whoever witnesses it needs the same bundle, whichever
// of both runs. Nil: the snapshot that the mesh was opened with does not publish the ledger.
func (m *Mesh) Control() peer.Identity {
	if m.control == nil {
		return nil
	}
	return m.control.certificate
}

// Bundle is the trust bundle by which the identities of the mesh are known.
func (m *Mesh) Bundle(ctx context.Context) (*workload.SPIFFEBundle, error) {
	if m.external == nil {
		return m.authority.Bundle(), nil
	}
	b, _, err := m.external.Bundles(ctx)
	if err != nil {
		return nil, err
	}
	return b.OwnBundle(), nil
}
