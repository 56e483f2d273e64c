package peer

import (
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"strings"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

const (
	scheme    = "spiffe://"
	maxID     = 2048 // bytes (SPIFFE-ID, section 2.3)
	maxDomain = 255  // bytes
	tagURI    = 6    // GeneralName (RFC 5280, section 4.2.1.6)
)

// ParseID reads the SPIFFE ID of a workload (SPIFFE-ID, section 2): lower-case letters, digits, '.', '-' and '_' in
// the trust domain, the same and capitals in the path, at least one segment, none empty, "." or "..". The rules
// stand here, although go-spiffe has them too, since a build tag of it relaxes them.
func ParseID(text string) (spiffeid.ID, error) {
	rest, ok := strings.CutPrefix(text, scheme)
	if !ok {
		return spiffeid.ID{}, errors.New("it does not begin with spiffe:// in lower case")
	}
	if len(text) > maxID {
		return spiffeid.ID{}, fmt.Errorf("it is longer than %d bytes", maxID)
	}
	domain, path, _ := strings.Cut(rest, "/")
	if domain == "" || len(domain) > maxDomain || !only(domain, false) {
		return spiffeid.ID{}, errors.New("its trust domain is empty, too long, or has characters other than a-z 0-9 . - _")
	}
	for segment := range strings.SplitSeq(path, "/") {
		if segment == "" || segment == "." || segment == ".." || !only(segment, true) {
			return spiffeid.ID{}, errors.New("its path is empty, or a segment is empty, a dot segment, or has characters other than a-z A-Z 0-9 . - _")
		}
	}
	return spiffeid.FromString(text)
}

// only tells whether text has none but the allowed characters.
func only(text string, upper bool) bool {
	for i := range len(text) {
		c := text[i]
		switch {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '.', c == '-', c == '_':
		case upper && c >= 'A' && c <= 'Z':
		default:
			return false
		}
	}
	return true
}

// identity reads the one SPIFFE ID of a certificate from its bytes. x509.Certificate.URIs is not enough: parsing
// a URL and printing it again loses an empty fragment or port and the case of the scheme, so that two different names
// would look alike.
func identity(cert *x509.Certificate) (spiffeid.ID, *Refusal) {
	uris, err := uriNames(cert)
	if err != nil {
		return spiffeid.ID{}, refuse(BadSAN, "%v", err)
	}
	if len(uris) != 1 {
		return spiffeid.ID{}, refuse(NotOneURI, "the certificate has %d URIs", len(uris))
	}
	id, err := ParseID(uris[0])
	if err != nil {
		return spiffeid.ID{}, refuse(BadID, "%.100q: %v", uris[0], err)
	}
	return id, nil
}

// uriNames returns the URIs among a certificate's subject alternative names, as they are written. A SPIFFE ID
// under another type of name is an error: software that looks there would believe it.
func uriNames(cert *x509.Certificate) ([]string, error) {
	var out []string
	for _, extension := range cert.Extensions {
		if !extension.Id.Equal(asn1.ObjectIdentifier{2, 5, 29, 17}) {
			continue
		}
		var names []asn1.RawValue
		if rest, err := asn1.Unmarshal(extension.Value, &names); err != nil || len(rest) > 0 {
			return nil, errors.New("the names of the certificate cannot be read")
		}
		for _, name := range names {
			if name.Class == asn1.ClassContextSpecific && name.Tag == tagURI {
				out = append(out, string(name.Bytes))
			} else if strings.Contains(strings.ToLower(string(name.Bytes)), "spiffe:") {
				return nil, errors.New("a name that is no URI poses as a SPIFFE ID")
			}
		}
	}
	return out, nil
}
