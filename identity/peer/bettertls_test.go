package peer

import (
	"crypto/x509"
	"testing"
	"time"

	"github.com/Netflix/bettertls/test-suites/certutil"
	"github.com/Netflix/bettertls/test-suites/nameconstraints"
	"github.com/Netflix/bettertls/test-suites/pathbuilding"
	vectors "github.com/Netflix/bettertls/test-suites/test-case"
)

// TestBetterTLS runs every vector of BetterTLS (path building and name constraints, https://bettertls.com) through
// the chain building of Verify. They are server certificates with host names, so the host name is checked beside;
// Verify itself must refuse all of them, since none has a SPIFFE ID.
func TestBetterTLS(t *testing.T) {
	root, rootKey, err := certutil.GenerateSelfSignedCert("bettertls_trust_root")
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(root)
	v, _ := trusting(t)
	accepts := func(c vectors.TestCase) bool {
		shown, err := c.GetCertificates(root, rootKey)
		if err != nil {
			t.Fatal(err)
		}
		var chain []*x509.Certificate
		for _, der := range shown.Certificate {
			cert, err := x509.ParseCertificate(der)
			if err != nil {
				return false
			}
			chain = append(chain, cert)
		}
		if p, err := v.Verify(chain, AsServer, time.Now()); err == nil {
			t.Errorf("accepted as %s", p.ID)
		}
		_, err = build(chain, roots, AsServer, time.Now())
		return err == nil && chain[0].VerifyHostname(c.GetHostname()) == nil
	}
	for _, provider := range []vectors.TestCaseProvider{pathbuilding.NewTestCaseProvider(), nameconstraints.NewTestCaseProvider()} {
		count, err := provider.GetTestCaseCount()
		if err != nil {
			t.Fatal(err)
		}
		accepted, wrong, otherwise := 0, 0, 0
		for i := range count {
			c, err := provider.GetTestCase(i)
			if err != nil {
				t.Fatal(err)
			}
			got := accepts(c)
			if got {
				accepted++
			}
			switch c.ExpectedResult() {
			case vectors.EXPECTED_RESULT_PASS, vectors.EXPECTED_RESULT_FAIL:
				if got != (c.ExpectedResult() == vectors.EXPECTED_RESULT_PASS) {
					wrong++
					t.Errorf("%s %d: accepted %v, want %s", provider.Name(), i, got, c.ExpectedResult())
				}
			default: // either is allowed, one is recommended
				if got != (c.ExpectedResult() == vectors.EXPECTED_RESULT_SOFT_PASS) {
					otherwise++
				}
			}
		}
		t.Logf("%s: %d vectors, %d accepted, %d wrong, %d otherwise than recommended", provider.Name(), count, accepted, wrong, otherwise)
		if count < 80 {
			t.Errorf("%d vectors of %s", count, provider.Name())
		}
	}
}
