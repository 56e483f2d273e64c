package jwt

import (
	"crypto/ecdsa"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	gojwt "github.com/golang-jwt/jwt/v5"

	"github.com/palisade-security/palisade/model"
	"github.com/palisade-security/palisade/proxy"
)

// forge makes tokens of one kind, good ones and bad ones.
type forge struct {
	issuer, audience, typ string
	base                  map[string]any                      // claims of a good one
	declared              func(map[string]any) map[string]any // puts declared claims where they belong
	codes                 map[string]string                   // where the reason is another than for access tokens, by name of the attack
}

// accessTokens forges access tokens of the test provider.
func accessTokens() forge {
	same := func(claims map[string]any) map[string]any { return claims }
	return forge{issuer: testIssuer, audience: testAudience, typ: "at+jwt", base: claimsWith(nil), declared: same}
}

func (f forge) claims(changes map[string]any) map[string]any { return merged(f.base, changes) }

func (f forge) header(changes map[string]any) map[string]any {
	return merged(map[string]any{"alg": "ES256", "typ": f.typ, "kid": "p256"}, changes)
}

func (f forge) good() string { return sign(f.header(nil), f.claims(nil)) }

// attacks are all that concern a token itself.
func (f forge) attacks(evil string) []attack {
	out := slices.Concat(f.algorithmAttacks(), f.headerAttacks(evil), f.signatureAttacks(), f.shapeAttacks(), f.jsonAttacks(), f.claimAttacks(), f.timeAttacks())
	for i := range out {
		if code, other := f.codes[out[i].name]; other {
			out[i].code = code
		}
	}
	return out
}

// attack is a value of Authorization and the reason for which it must be refused.
type attack struct{ name, value, code string }

// TestAttacks holds that no known attack on JWT gets in, that the trail says why, and that the client learns
// nothing: every refusal looks the same from outside, also on a route that lets anyone in.
func TestAttacks(t *testing.T) {
	var fetched atomic.Int32
	evil := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fetched.Add(1)
		_, _ = w.Write(jwks(jwk("evil", "ES256", &keysOnce().foreign.PublicKey)))
	}))
	defer evil.Close()

	attacks := slices.Concat(accessTokens().attacks(evil.URL), bearerAttacks())
	a := newTest(t, testProvider(), otherProvider())
	for _, at := range attacks {
		t.Run(at.name, func(t *testing.T) {
			for _, anonymous := range []bool{false, true} {
				r := requestWith(at.value)
				err := a.ForRoute(model.ResolvedRoute{Anonymous: anonymous, Providers: []string{"login"}}).Filter(t.Context(), r)
				checkRefused(t, r, err, at.code)
			}
		})
	}
	if n := fetched.Load(); n != 0 {
		t.Errorf("a key named by a token was fetched %d times", n)
	}
	r := requestWith("Bearer " + goodToken())
	if err := a.ForRoute(model.ResolvedRoute{}).Filter(t.Context(), r); err != nil || r.User == nil {
		t.Errorf("the good token is refused too: %v", err)
	}
}

// checkRefused checks one refusal, inside and outside.
func checkRefused(t *testing.T, r *proxy.Request, err error, code string) {
	t.Helper()
	denial, ok := errors.AsType[*proxy.Denial](err)
	if !ok {
		t.Fatalf("got %v, want a denial for %s", err, code)
	}
	if r.User != nil {
		t.Error("a user was set")
	}
	if len(denial.Reasons) != 1 || denial.Reasons[0].Code != code {
		t.Errorf("reasons %+v, want %s", denial.Reasons, code)
	}
	if denial.Kind != proxy.KindInvalidToken || denial.Detail != "The access token is malformed, expired or not accepted here." {
		t.Errorf("the client learns %q, %q", denial.Kind.Slug, denial.Detail)
	}
	if got := denial.Header.Get("WWW-Authenticate"); got != `Bearer realm="shop", error="invalid_token"` {
		t.Errorf("WWW-Authenticate: %s", got)
	}
}

// otherProvider is a second provider with a key of its own under the same key id.
func otherProvider() model.ResolvedProvider {
	return model.ResolvedProvider{
		Name:     "partner",
		Provider: model.Provider{Issuer: "https://partner.example", Audience: []string{testAudience}},
		JWKS:     jwks(jwk("p256", "ES256", &keysOnce().foreign.PublicKey)),
	}
}

// withHeader is a good token but for its header.
func (f forge) withHeader(name string, changes map[string]any, code string) attack {
	return attack{name, "Bearer " + sign(f.header(changes), f.claims(nil)), code}
}

// withClaims is a good token but for its claims.
func (f forge) withClaims(name string, changes map[string]any, code string) attack {
	return attack{name, "Bearer " + sign(f.header(nil), f.claims(changes)), code}
}

// withPayload is a well-signed token with any payload.
func (f forge) withPayload(name, payload, code string) attack {
	k := keysOnce()
	header := must(json.Marshal(f.header(nil)))
	return attack{name, "Bearer " + signRaw(gojwt.SigningMethodES256, k.p256, header, []byte(payload)), code}
}

// algorithmAttacks change the algorithm (RFC 8725, section 2.1; CVE-2015-9235, CVE-2016-5431).
func (f forge) algorithmAttacks() []attack {
	var out []attack
	for _, alg := range []string{"none", "None", "NONE", "nOnE", "", "es256", "ES256 ", "ES256K", "ЕS256", "HS256", "RS1", "RS512"} {
		signed := sign(f.header(map[string]any{"alg": alg}), f.claims(nil))
		unsigned := signed[:strings.LastIndexByte(signed, '.')+1]
		out = append(out,
			attack{"alg " + alg + " unsigned", "Bearer " + unsigned, CodeAlgorithm},
			attack{"alg " + alg + " signed", "Bearer " + signed, CodeAlgorithm})
	}
	k := keysOnce()
	der := must(x509.MarshalPKIXPublicKey(&k.rsa.PublicKey))
	for name, secret := range map[string][]byte{
		"PEM":         pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}),
		"PEM trimmed": []byte(strings.TrimSpace(string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})))),
		"DER":         der,
		"modulus":     k.rsa.N.Bytes(),
		"JWK":         must(json.Marshal(jwk("rsa", "", &k.rsa.PublicKey))),
		"empty":       {},
	} {
		for _, kid := range []string{"rsa", ""} {
			text := b64(must(json.Marshal(f.header(map[string]any{"alg": "HS256", "kid": kid})))) + "." + b64(must(json.Marshal(f.claims(nil))))
			mac := hmac.New(sha256.New, secret)
			mac.Write([]byte(text))
			out = append(out, attack{"RS256 to HS256 with " + name + " kid " + kid, "Bearer " + text + "." + b64(mac.Sum(nil)), CodeAlgorithm})
		}
	}
	return append(out,
		f.withHeader("no alg", map[string]any{"alg": nil}, CodeAlgorithm),
		f.withHeader("alg is a list", map[string]any{"alg": []string{"ES256"}}, CodeMalformed),
		f.withHeader("key of another algorithm", map[string]any{"alg": "RS256"}, CodeUnknownKey),
		f.withHeader("key of another curve", map[string]any{"kid": "p384"}, CodeUnknownKey),
		f.withHeader("key bound to another algorithm", map[string]any{"alg": "ES256", "kid": "ed"}, CodeUnknownKey),
	)
}

// headerAttacks bring keys, extensions and false key ids.
func (f forge) headerAttacks(evil string) []attack {
	k := keysOnce()
	foreign := jwk("evil", "ES256", &k.foreign.PublicKey)
	forged := func(name string, changes map[string]any, code string) attack {
		header := must(json.Marshal(f.header(changes)))
		return attack{name, "Bearer " + signRaw(gojwt.SigningMethodES256, k.foreign, header, must(json.Marshal(f.claims(nil)))), code}
	}
	out := []attack{
		forged("jku", map[string]any{"jku": evil + "/jwks.json", "kid": "evil"}, CodeEmbeddedKey),
		forged("jku on our host", map[string]any{"jku": f.issuer + "@" + evil[8:], "kid": "evil"}, CodeEmbeddedKey),
		forged("x5u", map[string]any{"x5u": evil + "/cert.pem"}, CodeEmbeddedKey),
		forged("jwk (CVE-2018-0114)", map[string]any{"jwk": foreign, "kid": "evil"}, CodeEmbeddedKey),
		forged("jwk is null", map[string]any{"jwk": json.RawMessage("null")}, CodeEmbeddedKey),
		forged("x5c", map[string]any{"x5c": []string{"MIIB"}}, CodeEmbeddedKey),
		f.withHeader("jku with a good signature", map[string]any{"jku": evil}, CodeEmbeddedKey),
		f.withHeader("crit", map[string]any{"crit": []string{"exp"}, "exp": 1}, CodeCritical),
		f.withHeader("crit empty", map[string]any{"crit": []string{}}, CodeCritical),
		f.withHeader("b64 false", map[string]any{"b64": false}, CodeCritical),
		f.withHeader("b64 false and crit", map[string]any{"b64": false, "crit": []string{"b64"}}, CodeCritical),
		f.withHeader("zip", map[string]any{"zip": "DEF"}, CodeEncrypted),
		f.withHeader("enc", map[string]any{"enc": "A256GCM"}, CodeEncrypted),
		f.withHeader("cty JWT", map[string]any{"cty": "JWT"}, CodeType),
		f.withHeader("kid is a number", map[string]any{"kid": 1}, CodeMalformed),
		f.withHeader("kid is an object", map[string]any{"kid": map[string]any{"$ne": ""}}, CodeMalformed),
		f.withHeader("kid is long", map[string]any{"kid": strings.Repeat("p", 257)}, CodeUnknownKey),
		f.withHeader("kid in other case", map[string]any{"kid": "P256"}, CodeUnknownKey),
		f.withHeader("typ of an ID token", map[string]any{"typ": "JWT"}, CodeType),
		f.withHeader("typ missing", map[string]any{"typ": nil}, CodeType),
		f.withHeader("typ of a logout token", map[string]any{"typ": "logout+jwt"}, CodeType),
		f.withHeader("typ of a DPoP proof", map[string]any{"typ": "dpop+jwt"}, CodeType),
		f.withHeader("typ with a parameter", map[string]any{"typ": "at+jwt; v=1"}, CodeType),
	}
	for _, kid := range []string{
		"../../../../dev/null", "/dev/null", "/proc/sys/kernel/randomize_va_space", `..\..\windows\win.ini`,
		"p256' UNION SELECT 'secret", "' OR '1'='1", "p256\x00", "p256\n", "|/usr/bin/id", "$(id)", "${jndi:ldap://x}", evil,
	} {
		out = append(out, forged("kid "+kid, map[string]any{"kid": kid}, CodeUnknownKey))
	}
	return out
}

// signatureAttacks forge or bend signatures.
func (f forge) signatureAttacks() []attack {
	k := keysOnce()
	good := f.good()
	text := good[:strings.LastIndexByte(good, '.')]
	n := k.p256.Params().N.Bytes()
	with := func(name string, signature []byte) attack {
		return attack{name, "Bearer " + text + "." + b64(signature), CodeSignature}
	}
	digest := sha256.Sum256([]byte(text))
	one := append(make([]byte, 31), 1)
	raw := must(gojwt.SigningMethodES256.Sign(text, k.p256))
	out := []attack{
		with("none", nil),
		with("zero r and s (CVE-2022-21449)", make([]byte, 64)),
		with("zero r", slices.Concat(make([]byte, 32), raw[32:])),
		with("zero s", slices.Concat(raw[:32], make([]byte, 32))),
		with("r and s are the order", slices.Concat(n, n)),
		with("r and s are one", slices.Concat(one, one)),
		with("ASN.1 instead of r and s", must(ecdsa.SignASN1(rand.Reader, k.p256, digest[:]))),
		with("a byte more", append(slices.Clone(raw), 0)),
		with("a byte before", append([]byte{0}, raw...)),
		with("a byte less", raw[:63]),
		with("padded to 66 bytes each", make([]byte, 132)),
		with("of another key", must(gojwt.SigningMethodES256.Sign(text, k.foreign))),
		with("of another token", must(gojwt.SigningMethodES256.Sign(text+"A", k.p256))),
	}
	claims := must(json.Marshal(f.claims(map[string]any{"sub": "admin"})))
	parts := strings.Split(good, ".")
	out = append(out, attack{"payload exchanged", "Bearer " + parts[0] + "." + b64(claims) + "." + parts[2], CodeSignature})
	salted := gojwt.SigningMethodRSAPSS{
		SigningMethodRSA: gojwt.SigningMethodPS256.SigningMethodRSA, Options: &rsa.PSSOptions{SaltLength: 8},
	}
	header := must(json.Marshal(f.header(map[string]any{"alg": "PS256", "kid": "rsa"})))
	out = append(out, attack{"PSS with a short salt", "Bearer " + signRaw(&salted, k.rsa, header, must(json.Marshal(f.claims(nil)))), CodeSignature})
	header = must(json.Marshal(f.header(map[string]any{"alg": "RS256", "kid": "rsa"})))
	text = b64(header) + "." + b64(claims)
	for name, s := range map[string][]byte{"RSA zero": make([]byte, 256), "RSA one": append(make([]byte, 255), 1), "RSA modulus": k.rsa.N.Bytes(), "RSA empty": {}} {
		out = append(out, signedAs(name, text, s))
	}
	header = must(json.Marshal(f.header(map[string]any{"alg": "EdDSA", "kid": "ed"})))
	text = b64(header) + "." + b64(claims)
	for name, s := range map[string][]byte{"Ed25519 zero": make([]byte, 64), "Ed25519 short": make([]byte, 63), "Ed25519 empty": {}} {
		out = append(out, signedAs(name, text, s))
	}
	return out
}

// signedAs is a signature over any text.
func signedAs(name, text string, signature []byte) attack {
	return attack{name, "Bearer " + text + "." + b64(signature), CodeSignature}
}

// shapeAttacks bend the compact form and its encoding.
func (f forge) shapeAttacks() []attack {
	good := f.good()
	p := strings.Split(good, ".")
	other := base64.StdEncoding.EncodeToString
	last := good[len(good)-1]
	spelling := good[:len(good)-1] + string("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"[spell(last)^1])
	malformed := map[string]string{
		"one part": p[0], "two parts": p[0] + "." + p[1], "four parts": good + ".", "four parts, first empty": "." + good,
		"six parts": good + "..." + "x", "dots": "..", "empty header": "." + p[1] + "." + p[2], "empty payload": p[0] + ".." + p[2],
		"padding": good + "=", "padding within": p[0] + "=." + p[1] + "." + p[2], "line break": p[0] + ".\n" + p[1] + "." + p[2],
		"carriage return": p[0] + ".\r" + p[1] + "." + p[2], "space within": p[0] + ". " + p[1] + "." + p[2], "space after": good + " ",
		"tab before": "\t" + good, "comma": good + "," + good, "quoted": `"` + good + `"`, "NUL": good + "\x00",
		"other spelling of the last byte": spelling, "standard base64": other([]byte(`{"alg":"ES256","typ":"`+f.typ+`","kid":"~~~???"}`)) + "." + p[1] + "." + p[2],
		"full-width dot": p[0] + "．" + p[1] + "．" + p[2], "zero-width space": p[0] + ".\u200b" + p[1] + "." + p[2],
		"percent": strings.Replace(good, ".", "%2E", 1), "JSON form": `{"payload":"` + p[1] + `","signatures":[]}`,
		"not base64": "a.b.c", "length of one": p[0] + "." + p[1] + ".A",
	}
	out := []attack{
		{"JWE", "Bearer " + good + ".AA.AA", CodeEncrypted},
		{"JWE dots", "Bearer ....", CodeEncrypted},
		{"huge", "Bearer " + good + strings.Repeat("A", 8<<10), CodeTooLarge},
		f.withClaims("huge but well signed", map[string]any{"x": strings.Repeat("x", 8<<10)}, CodeTooLarge),
	}
	for name, token := range malformed {
		out = append(out, attack{name, "Bearer " + token, CodeMalformed})
	}
	return out
}

// spell returns the value of a base64url character.
func spell(c byte) int {
	return strings.IndexByte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", c)
}

// jsonAttacks make two readers see different claims, or one reader work too much.
func (f forge) jsonAttacks() []attack {
	k := keysOnce()
	rest := strings.TrimPrefix(string(must(json.Marshal(f.claims(nil)))), "{")
	headed := func(name, header, code string) attack {
		return attack{name, "Bearer " + signRaw(gojwt.SigningMethodES256, k.p256, []byte(header), must(json.Marshal(f.claims(nil)))), code}
	}
	nested := `{"alg":"none"}`
	return []attack{
		f.withPayload("sub twice", `{"sub":"admin",`+rest, CodeDuplicateName),
		f.withPayload("sub twice, once escaped", `{"\u0073ub":"admin",`+rest, CodeDuplicateName),
		f.withPayload("exp twice", `{"exp":99999999999,`+rest, CodeDuplicateName),
		f.withPayload("twice within", `{"realm":{"roles":[],"roles":["admin"]},`+rest, CodeDuplicateName),
		f.withPayload("twice within a list", `{"x":[[{"a":1,"a":2}]],`+rest, CodeDuplicateName),
		headed("alg twice", `{"alg":"none","alg":"ES256","typ":"`+f.typ+`","kid":"p256"}`, CodeDuplicateName),
		headed("alg twice the other way", `{"alg":"ES256","typ":"`+f.typ+`","kid":"p256","alg":"none"}`, CodeDuplicateName),
		headed("header is a list", `["ES256"]`, CodeMalformed),
		headed("header is cut", `{"alg":"ES256"`, CodeMalformed),
		headed("header with more", `{"alg":"ES256","typ":"`+f.typ+`","kid":"p256"}{}`, CodeMalformed),
		headed("header with byte order mark", "\ufeff"+`{"alg":"ES256","typ":"`+f.typ+`","kid":"p256"}`, CodeMalformed),
		f.withPayload("payload is a token", b64([]byte(nested))+".e30.", CodeMalformed),
		f.withPayload("payload is a string", `"eyJhbGciOiJub25lIn0.e30."`, CodeMalformed),
		f.withPayload("payload is null", `null`, CodeMalformed),
		f.withPayload("payload is empty", ` `, CodeMalformed),
		f.withPayload("two payloads", `{`+rest+`{"sub":"admin"}`, CodeMalformed),
		f.withPayload("comment", `{/*x*/`+rest, CodeMalformed),
		f.withPayload("trailing comma", `{"x":[1,],`+rest, CodeMalformed),
		f.withPayload("single quotes", `{'x':1,`+rest, CodeMalformed),
		f.withPayload("bad UTF-8", "{\"x\":\"\xff\","+rest, CodeMalformed),
		f.withPayload("overlong UTF-8", "{\"x\":\"\xc0\xaf\","+rest, CodeMalformed),
		f.withPayload("lone surrogate", `{"x":"\ud800",`+rest, CodeMalformed),
		f.withPayload("reversed surrogates", `{"x":"\udc00\ud800",`+rest, CodeMalformed),
		f.withPayload("control character", "{\"x\":\"a\nb\","+rest, CodeMalformed),
		f.withPayload("NaN", `{"x":NaN,`+rest, CodeMalformed),
		f.withPayload("leading zero", `{"x":01,`+rest, CodeMalformed),
		f.withPayload("number beyond floating point", `{"x":1e999,`+rest, CodeMalformed),
		f.withPayload("deep", `{"x":`+strings.Repeat("[", 9)+strings.Repeat("]", 9)+`,`+rest, CodeMalformed),
		f.withPayload("deep objects", `{"x":`+strings.Repeat(`{"a":`, 300)+"1"+strings.Repeat("}", 300)+`,`+rest, CodeMalformed),
		f.withPayload("wide", `{"x":[`+strings.Repeat("1,", 1100)+`1],`+rest, CodeMalformed),
	}
}

// claimAttacks are well-signed tokens that are not for us.
func (f forge) claimAttacks() []attack {
	k := keysOnce()
	cross := signRaw(gojwt.SigningMethodES256, k.foreign, must(json.Marshal(f.header(nil))), must(json.Marshal(f.claims(nil))))
	partner := signRaw(gojwt.SigningMethodES256, k.foreign, must(json.Marshal(f.header(nil))),
		must(json.Marshal(f.claims(map[string]any{"iss": "https://partner.example"}))))
	return []attack{
		{"issuer of one provider, key of another", "Bearer " + cross, CodeSignature},
		{"provider that the route does not accept", "Bearer " + partner, CodeWrongIssuer},
		f.withClaims("iss of the other provider", map[string]any{"iss": "https://partner.example"}, CodeSignature),
		f.withClaims("iss missing", map[string]any{"iss": nil}, CodeMissingClaim),
		f.withClaims("iss with a slash", map[string]any{"iss": f.issuer + "/"}, CodeWrongIssuer),
		f.withClaims("iss in capitals", map[string]any{"iss": strings.ToUpper(f.issuer)}, CodeWrongIssuer),
		f.withClaims("iss longer", map[string]any{"iss": f.issuer + ".evil.example"}, CodeWrongIssuer),
		f.withClaims("iss empty", map[string]any{"iss": ""}, CodeWrongIssuer),
		f.withClaims("iss is a list", map[string]any{"iss": []string{f.issuer}}, CodeMissingClaim),
		f.withClaims("iss of development", map[string]any{"iss": model.DevelopmentIssuer}, CodeWrongIssuer),
		f.withClaims("aud missing", map[string]any{"aud": nil}, CodeMissingClaim),
		f.withClaims("aud empty", map[string]any{"aud": []string{}}, CodeMissingClaim),
		f.withClaims("aud of another", map[string]any{"aud": "https://elsewhere.example"}, CodeWrongAudience),
		f.withClaims("aud longer", map[string]any{"aud": f.audience + "/admin"}, CodeWrongAudience),
		f.withClaims("aud shorter", map[string]any{"aud": "https://api.shop"}, CodeWrongAudience),
		f.withClaims("aud in one string", map[string]any{"aud": f.audience + " https://x"}, CodeWrongAudience),
		f.withClaims("aud is a number", map[string]any{"aud": 1}, CodeWrongClaim),
		f.withClaims("aud holds a number", map[string]any{"aud": []any{f.audience, 1}}, CodeWrongClaim),
		f.withClaims("aud is an object", map[string]any{"aud": map[string]any{f.audience: true}}, CodeWrongClaim),
		f.withClaims("bound to a DPoP key", map[string]any{"cnf": map[string]any{"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}}, CodeBound),
		f.withClaims("bound to a certificate", map[string]any{"cnf": map[string]any{"x5t#S256": "bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg2"}}, CodeBound),
		f.withClaims("bound to nothing that is known", map[string]any{"cnf": true}, CodeBound),
		f.withClaims("sub missing", map[string]any{"sub": nil}, CodeMissingClaim),
		f.withClaims("sub empty", map[string]any{"sub": ""}, CodeMissingClaim),
		f.withClaims("sub is a number", map[string]any{"sub": 1}, CodeWrongClaim),
		f.withClaims("sub with a line break", map[string]any{"sub": "user-1\r\nX-Admin: 1"}, CodeMalformed),
		f.withClaims("sub with NUL", map[string]any{"sub": "admin\x00user"}, CodeMalformed),
		f.withClaims("sub is long", map[string]any{"sub": strings.Repeat("u", 513)}, CodeMalformed),
		f.withClaims("scope is an object", map[string]any{"scope": map[string]any{}}, CodeWrongClaim),
		f.withClaims("declared string is a number", f.declared(map[string]any{"tenant": 1}), CodeWrongClaim),
		f.withClaims("declared long is a string", f.declared(map[string]any{"level": "3"}), CodeWrongClaim),
		f.withClaims("declared long has a fraction", f.declared(map[string]any{"level": 3.5}), CodeWrongClaim),
		f.withPayload("declared long is too long", strings.Replace(string(must(json.Marshal(f.claims(f.declared(map[string]any{"level": 1}))))), `"level":1`, `"level":9223372036854775808`, 1), CodeWrongClaim),
		f.withClaims("declared bool is a string", f.declared(map[string]any{"staff": "true"}), CodeWrongClaim),
		f.withClaims("declared set holds a number", f.declared(map[string]any{"groups": []any{1}}), CodeWrongClaim),
	}
}

// timeAttacks bend the dates.
func (f forge) timeAttacks() []attack {
	now := testNow().Unix()
	out := []attack{
		f.withClaims("expired", map[string]any{"exp": now - 3600, "iat": now - 7200}, CodeExpired),
		f.withClaims("expired at the edge of the skew", map[string]any{"exp": now - 30}, CodeExpired),
		f.withClaims("expired by a fraction", map[string]any{"exp": float64(now) - 30 + 0.5}, CodeExpired),
		f.withClaims("exp missing", map[string]any{"exp": nil}, CodeMissingClaim),
		f.withClaims("exp zero", map[string]any{"exp": 0}, CodeExpired),
		f.withClaims("not yet", map[string]any{"nbf": now + 31}, CodeNotYet),
		f.withClaims("issued in the future", map[string]any{"iat": now + 31}, CodeNotYet),
		f.withClaims("ends before it begins", map[string]any{"exp": now - 20, "nbf": now}, CodeMalformed),
		f.withClaims("exp is a string", map[string]any{"exp": fmt.Sprint(now + 600)}, CodeWrongClaim),
		f.withClaims("exp is null", map[string]any{"exp": json.RawMessage("null")}, CodeWrongClaim),
		f.withClaims("exp is true", map[string]any{"exp": true}, CodeWrongClaim),
		f.withClaims("nbf is a list", map[string]any{"nbf": []int{1}}, CodeWrongClaim),
		f.withClaims("exp is an RFC 3339 date", map[string]any{"exp": testNow().Add(time.Hour)}, CodeWrongClaim),
	}
	for _, exp := range []string{"1e10", "9e18", "1e300", "-1", "-0.5", "253402300800", "9223372036854775807", "9223372036854775808", "18446744073709551616", "1.5e10", "99999999999999999999999999"} {
		out = append(out, f.withClaims("exp "+exp, map[string]any{"exp": json.RawMessage(exp)}, CodeMalformed))
	}
	return out
}

// bearerAttacks bend the field.
func bearerAttacks() []attack {
	good := goodToken()
	return []attack{
		{"Basic", "Basic dXNlcjpwYXNz", CodeScheme},
		{"no scheme", good, CodeScheme},
		{"DPoP", "DPoP " + good, CodeScheme},
		{"no space", "Bearer" + good, CodeScheme},
		{"tab", "Bearer\t" + good, CodeScheme},
		{"Bearer with a homoglyph", "Вearer " + good, CodeScheme},
		{"empty", "", CodeScheme},
		{"Bearer alone", "Bearer", CodeMalformed},
		{"Bearer and spaces", "Bearer   ", CodeMalformed},
		{"two tokens", "Bearer " + good + " " + good, CodeMalformed},
		{"auth-params", `Bearer token="` + good + `"`, CodeMalformed},
	}
}

// TestTwoFields holds that a second Authorization field never decides.
func TestTwoFields(t *testing.T) {
	f := newTest(t, testProvider()).ForRoute(model.ResolvedRoute{Anonymous: true})
	for _, values := range [][]string{{"Bearer " + goodToken(), "Bearer " + goodToken()}, {"Basic eDp5", "Bearer " + goodToken()}, {"Bearer " + goodToken(), ""}} {
		r := requestWith(values...)
		checkRefused(t, r, f.Filter(t.Context(), r), CodeDuplicate)
	}
}

// TestMalleability holds what is known and harmless: of an ECDSA signature (r, s) the twin (r, n-s) is valid
// too, so a token is not its own identifier. It names the same user and the same "jti".
func TestMalleability(t *testing.T) {
	good := goodToken()
	dot := strings.LastIndexByte(good, '.')
	sig := must(base64.RawURLEncoding.DecodeString(good[dot+1:]))
	s := new(big.Int).Sub(keysOnce().p256.Params().N, new(big.Int).SetBytes(sig[32:]))
	twin := good[:dot+1] + b64(slices.Concat(sig[:32], s.FillBytes(make([]byte, 32))))
	a := newTest(t, testProvider())
	first, err1 := a.authenticate(t.Context(), good)
	second, err2 := a.authenticate(t.Context(), twin)
	if err1 != nil || err2 != nil || first.user.Subject != second.user.Subject || first.user.TokenID != second.user.TokenID {
		t.Errorf("got %v %v", err1, err2)
	}
}
