// Command catalog lists what the shop sells.
package main

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"sync"

	"github.com/palisade-security/palisade/examples/shop/internal/serve"
)

type product struct {
	ID    int    `json:"id"`
	Name  string `json:"name"`
	Cents int    `json:"cents"`
	Stock int    `json:"stock"`
}

type catalog struct {
	mu       sync.RWMutex
	products []product
}

func main() {
	c := &catalog{products: []product{
		{1, "Oak fence panel", 4900, 12}, {2, "Gate hinge, pair", 1250, 80}, {3, "Watchtower kit", 89900, 2}, {4, "Moat liner, 10 m", 23500, 5},
	}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("GET /catalog", c.list)
	mux.HandleFunc("GET /catalog/{id}", c.get)
	mux.HandleFunc("PUT /catalog/{id}", c.put)
	serve.HTTP(mux)
}

func (c *catalog) list(w http.ResponseWriter, r *http.Request) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	out := slices.Clone(c.products)
	if most, err := strconv.Atoi(r.URL.Query().Get("max_cents")); err == nil {
		out = slices.DeleteFunc(out, func(p product) bool { return p.Cents > most })
	}
	serve.JSON(w, http.StatusOK, out)
}

func (c *catalog) get(w http.ResponseWriter, r *http.Request) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if i := c.find(r); i >= 0 {
		serve.JSON(w, http.StatusOK, c.products[i])
		return
	}
	serve.Fail(w, http.StatusNotFound, "no such product")
}

func (c *catalog) put(w http.ResponseWriter, r *http.Request) {
	var in product
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		serve.Fail(w, http.StatusBadRequest, "not a product")
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	i := c.find(r)
	if i < 0 {
		serve.Fail(w, http.StatusNotFound, "no such product")
		return
	}
	in.ID = c.products[i].ID
	c.products[i] = in
	serve.JSON(w, http.StatusOK, in)
}

func (c *catalog) find(r *http.Request) int {
	id, err := strconv.Atoi(r.PathValue("id"))
	if err != nil {
		return -1
	}
	return slices.IndexFunc(c.products, func(p product) bool { return p.ID == id })
}
