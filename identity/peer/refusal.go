package peer

import (
	"fmt"
	"time"
)

// Reason says why a peer is refused; it goes into events as it is.
type Reason string

// The reasons, in the order in which they are looked for.
const (
	NoCertificate Reason = "no_certificate"       // the peer shows none
	LongChain     Reason = "chain_too_long"       // more certificates than any honest peer sends
	BadSAN        Reason = "bad_subject_alt_name" // the names cannot be read, or one poses as a SPIFFE ID
	NotOneURI     Reason = "not_one_uri"          // no URI or several
	BadID         Reason = "bad_spiffe_id"        // the URI is no SPIFFE ID of a workload
	LeafIsCA      Reason = "leaf_is_ca"           // the SVID is a CA certificate
	LeafSigns     Reason = "leaf_signs"           // its key usage lets it sign certificates or CRLs
	BadKeyUsage   Reason = "bad_key_usage"        // its key usage does not let it shake hands
	WeakKey       Reason = "weak_key"             // its key is of a kind or size that is not taken
	UnknownDomain Reason = "unknown_trust_domain" // there is no bundle of its trust domain
	Expired       Reason = "expired"              // it or a certificate above it is past its end
	NotYetValid   Reason = "not_yet_valid"        // it or a certificate above it has not begun
	Untrusted     Reason = "untrusted_chain"      // no chain leads to a root of its own trust domain
	ForeignIssuer Reason = "foreign_issuer"       // a certificate above it names another trust domain
	Revoked       Reason = "revoked"              // its service, node or serial number is revoked
	Unexpected    Reason = "unexpected_peer"      // it is good, but not whom this side wants to talk to
)

// Refusal is the error of a peer that is refused. Text may quote what the peer says of itself, escaped.
type Refusal struct {
	Reason Reason
	Text   string
	Peer   string    // its SPIFFE ID, as far as it was read; not to be believed unless the reason is Revoked or Unexpected
	Since  time.Time // of Revoked: when it was
}

func (r *Refusal) Error() string {
	if r.Peer == "" {
		return fmt.Sprintf("peer refused: %s: %s", r.Reason, r.Text)
	}
	return fmt.Sprintf("peer %s refused: %s: %s", r.Peer, r.Reason, r.Text)
}

func refuse(reason Reason, format string, args ...any) *Refusal {
	return &Refusal{Reason: reason, Text: fmt.Sprintf(format, args...)}
}

// ReasonCode is how the record of a call says that its callee was refused.
func (r *Refusal) ReasonCode() string {
	if r.Reason == Revoked {
		return "peer-revoked"
	}
	return "peer-identity"
}
