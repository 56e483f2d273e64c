package attest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
)

// ErrServiceAccount refuses a token that the API server does not vouch for.
var ErrServiceAccount = errors.New("the service account token is not valid here")

// Bounds of a token (a projected one has about 1 KiB) and of the API server's answer.
const (
	maxServiceAccountToken = 16 << 10
	maxTokenReview         = 256 << 10
)

// Kubernetes proves service accounts by projected tokens: it asks the API server to review them (TokenReview,
// authentication.k8s.io/v1). That the API server decides, and not a signature alone, makes tokens of deleted
// pods worthless at once.
type Kubernetes struct {
	// URL of the API server, such as https://10.0.0.1:6443.
	URL string
	// Audience that tokens must be bound to, such as the trust domain. It is required: a token for the API
	// server itself, which every pod has by default, proves nothing to us.
	Audience string
	// Token returns our own credential, which may create tokenreviews. It is called for each review, since
	// projected tokens are renewed.
	Token func() (string, error)
	// Client trusts the cluster's authority and has a timeout.
	Client *http.Client
}

// tokenReview is the request and the answer, as far as they count.
type tokenReview struct {
	APIVersion string            `json:"apiVersion"`
	Kind       string            `json:"kind"`
	Spec       tokenReviewSpec   `json:"spec"`
	Status     tokenReviewStatus `json:"status,omitzero"`
}

type tokenReviewSpec struct {
	Token     string   `json:"token"`
	Audiences []string `json:"audiences"`
}

type tokenReviewStatus struct {
	Authenticated bool     `json:"authenticated"`
	Audiences     []string `json:"audiences"`
	User          struct {
		Username string              `json:"username"`
		Groups   []string            `json:"groups"`
		Extra    map[string][]string `json:"extra"`
	} `json:"user"`
}

// nodeExtra is where an API server says which node the token's pod runs on (Kubernetes 1.30 and later).
const nodeExtra = "authentication.kubernetes.io/node-name"

// Prove returns the namespace and the service account that a token belongs to, and the node of its pod if that is known.
func (k *Kubernetes) Prove(ctx context.Context, token string) ([]Selector, error) {
	if k.Audience == "" {
		return nil, errors.New("reviewing a service account token: no audience is declared")
	}
	if token == "" || len(token) > maxServiceAccountToken {
		return nil, ErrServiceAccount
	}
	status, err := k.review(ctx, token)
	if err != nil {
		return nil, fmt.Errorf("reviewing a service account token: %w", err)
	}
	// An API server that does not know audiences ignores ours and returns none.
	if !status.Authenticated || !slices.Contains(status.Audiences, k.Audience) {
		return nil, ErrServiceAccount
	}
	namespace, account, err := parseServiceAccount(status.User.Username)
	if err != nil || !slices.Contains(status.User.Groups, "system:serviceaccounts:"+namespace) {
		return nil, ErrServiceAccount
	}
	out := []Selector{
		{Kind: KubernetesNamespace, Value: namespace},
		{Kind: KubernetesServiceAccount, Value: account},
	}
	if nodes := status.User.Extra[nodeExtra]; len(nodes) == 1 {
		out = append(out, Selector{Kind: KubernetesNode, Value: nodes[0]})
	}
	return out, nil
}

// parseServiceAccount reads "system:serviceaccount:NAMESPACE:NAME".
func parseServiceAccount(user string) (namespace, account string, err error) {
	rest, ok := strings.CutPrefix(user, "system:serviceaccount:")
	namespace, account, ok2 := strings.Cut(rest, ":")
	if !ok || !ok2 || namespace == "" || account == "" || strings.Contains(account, ":") {
		return "", "", ErrServiceAccount
	}
	return namespace, account, nil
}

func (k *Kubernetes) review(ctx context.Context, token string) (*tokenReviewStatus, error) {
	body, err := json.Marshal(tokenReview{
		APIVersion: "authentication.k8s.io/v1", Kind: "TokenReview",
		Spec: tokenReviewSpec{Token: token, Audiences: []string{k.Audience}},
	})
	if err != nil {
		return nil, err
	}
	url := strings.TrimSuffix(k.URL, "/") + "/apis/authentication.k8s.io/v1/tokenreviews"
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	own, err := k.Token()
	if err != nil {
		return nil, fmt.Errorf("reading our own credential: %w", err)
	}
	req.Header.Set("Authorization", "Bearer "+own)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	res, err := k.Client.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusCreated && res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the API server answers %d", res.StatusCode)
	}
	text, err := io.ReadAll(io.LimitReader(res.Body, maxTokenReview+1))
	if err != nil {
		return nil, err
	}
	return parseTokenReview(text)
}

func parseTokenReview(text []byte) (*tokenReviewStatus, error) {
	if len(text) > maxTokenReview {
		return nil, fmt.Errorf("the answer is longer than %d bytes", maxTokenReview)
	}
	var out tokenReview
	if err := json.Unmarshal(text, &out); err != nil {
		return nil, fmt.Errorf("reading the answer: %w", err)
	}
	if out.Kind != "TokenReview" {
		return nil, fmt.Errorf("the answer is a %q, not a TokenReview", out.Kind)
	}
	return &out.Status, nil
}
