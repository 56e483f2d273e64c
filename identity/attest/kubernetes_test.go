package attest

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
)

// apiServer answers TokenReviews as kube-apiserver does (authentication.k8s.io/v1): it knows one projected
// token, bound to one audience, and one that is for the API server itself. It holds us to the exact request.
func apiServer(t *testing.T) *Kubernetes {
	t.Helper()
	const own = "https://kubernetes.default.svc"
	tokens := map[string]struct {
		audiences []string
		user      string
		groups    []string
	}{
		"catalog-token":  {[]string{"shop.example"}, "system:serviceaccount:shop:catalog", []string{"system:serviceaccounts", "system:serviceaccounts:shop", "system:authenticated"}},
		"default-token":  {[]string{own}, "system:serviceaccount:shop:catalog", []string{"system:serviceaccounts", "system:serviceaccounts:shop"}},
		"person-token":   {[]string{"shop.example"}, "alice", []string{"system:authenticated"}},
		"forged-name":    {[]string{"shop.example"}, "system:serviceaccount:shop:catalog", []string{"system:authenticated"}},
		"too-many-parts": {[]string{"shop.example"}, "system:serviceaccount:shop:catalog:x", []string{"system:serviceaccounts:shop"}},
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /apis/authentication.k8s.io/v1/tokenreviews", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if r.Header.Get("Authorization") != "Bearer our-own" {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		var review tokenReview
		if err := json.Unmarshal(body, &review); err != nil || r.Header.Get("Content-Type") != "application/json" {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		want := `{"apiVersion":"authentication.k8s.io/v1","kind":"TokenReview","spec":{"token":"` + review.Spec.Token + `","audiences":["shop.example"]}}`
		if string(body) != want {
			t.Errorf("request %s\nwant    %s", body, want)
		}
		status := map[string]any{"authenticated": false, "user": map[string]any{}, "error": "unknown token"}
		if known, ok := tokens[review.Spec.Token]; ok {
			both := slices.DeleteFunc(slices.Clone(known.audiences), func(a string) bool { return !slices.Contains(review.Spec.Audiences, a) })
			if len(both) > 0 {
				status = map[string]any{
					"authenticated": true, "audiences": both,
					"user": map[string]any{
						"username": known.user, "uid": "8c3f", "groups": known.groups,
						"extra": map[string]any{"authentication.kubernetes.io/pod-name": []string{"catalog-0"}},
					},
				}
			}
		}
		if review.Spec.Token == "no-audience-support" { // an API server older than audiences
			status = map[string]any{"authenticated": true, "user": map[string]any{"username": "system:serviceaccount:shop:catalog", "groups": []string{"system:serviceaccounts:shop"}}}
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusCreated)
		_ = json.NewEncoder(w).Encode(map[string]any{"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "metadata": map[string]any{}, "spec": review.Spec, "status": status})
	})
	srv := httptest.NewTLSServer(mux)
	t.Cleanup(srv.Close)
	return &Kubernetes{
		URL: srv.URL + "/", Audience: "shop.example", Client: srv.Client(),
		Token: func() (string, error) { return "our-own", nil },
	}
}

func TestServiceAccountToken(t *testing.T) {
	k := apiServer(t)
	proven, err := k.Prove(t.Context(), "catalog-token")
	want := []Selector{{Kind: KubernetesNamespace, Value: "shop"}, {Kind: KubernetesServiceAccount, Value: "catalog"}}
	if err != nil || !slices.Equal(proven, want) {
		t.Errorf("proven %v, %v", proven, err)
	}
	for _, token := range []string{
		"", "unknown", "default-token", "person-token", "forged-name", "too-many-parts", "no-audience-support",
		strings.Repeat("x", maxServiceAccountToken+1),
	} {
		if proven, err := k.Prove(t.Context(), token); !errors.Is(err, ErrServiceAccount) {
			t.Errorf("token %.20q: proven %v, %v", token, proven, err)
		}
	}
}

func TestServiceAccountNeedsTheAPIServer(t *testing.T) {
	for name, spoil := range map[string]func(*Kubernetes){
		"no audience":   func(k *Kubernetes) { k.Audience = "" },
		"not permitted": func(k *Kubernetes) { k.Token = func() (string, error) { return "other", nil } },
		"no credential": func(k *Kubernetes) { k.Token = func() (string, error) { return "", errors.New("no file") } },
		"unknown root":  func(k *Kubernetes) { k.Client = &http.Client{} },
		"not a TokenReview": func(k *Kubernetes) {
			srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"kind":"Status"}`)) }))
			t.Cleanup(srv.Close)
			k.URL, k.Client = srv.URL, srv.Client()
		},
		"endless answer": func(k *Kubernetes) {
			srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				for range maxTokenReview {
					_, _ = w.Write([]byte("    "))
				}
			}))
			t.Cleanup(srv.Close)
			k.URL, k.Client = srv.URL, srv.Client()
		},
	} {
		t.Run(name, func(t *testing.T) {
			k := apiServer(t)
			spoil(k)
			proven, err := k.Prove(t.Context(), "catalog-token")
			if err == nil || errors.Is(err, ErrServiceAccount) {
				t.Errorf("proven %v, %v; want an error that says that nothing was decided", proven, err)
			}
			if err != nil && strings.Contains(err.Error(), "catalog-token") {
				t.Errorf("the error shows the token: %v", err)
			}
		})
	}
}

func FuzzTokenReview(f *testing.F) {
	f.Add([]byte(`{"kind":"TokenReview","status":{"authenticated":true,"audiences":["a"],"user":{"username":"system:serviceaccount:a:b","groups":["system:serviceaccounts:a"]}}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		status, err := parseTokenReview(text)
		if err != nil {
			return
		}
		namespace, account, err := parseServiceAccount(status.User.Username)
		if err == nil && "system:serviceaccount:"+namespace+":"+account != status.User.Username {
			t.Errorf("%q is read as %q and %q", status.User.Username, namespace, account)
		}
	})
}
