// Command front is the hotels' HTTP API: it finds rooms and books them.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"log"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/palisade-security/palisade/examples/hotel/internal/hotelpb"
	"github.com/palisade-security/palisade/examples/hotel/internal/serve"
)

type front struct {
	search       hotelpb.SearchClient
	profiles     hotelpb.ProfilesClient
	reservations hotelpb.ReservationsClient
	userHeader   string // the field in which whoever stands before us names the user
}

func main() {
	listen := flag.String("listen", "127.0.0.1:9300", "host:port to serve on")
	search := flag.String("search", "127.0.0.1:9301", "host:port of search")
	profiles := flag.String("profiles", "127.0.0.1:9304", "host:port of profiles")
	reservations := flag.String("reservations", "127.0.0.1:9305", "host:port of reservations")
	userHeader := flag.String("user-header", "X-Forwarded-User", "field in which a gateway names the user")
	forward := serve.Tracing()
	flag.Var(&forward, "forward", "fields of requests that are handed on")
	flag.Parse()
	f := &front{
		search: hotelpb.NewSearchClient(forward.Dial(*search)), profiles: hotelpb.NewProfilesClient(forward.Dial(*profiles)),
		reservations: hotelpb.NewReservationsClient(forward.Dial(*reservations)), userHeader: *userHeader,
	}
	if err := run(&http.Server{Addr: *listen, Handler: forward.HTTP(f.routes()), ReadHeaderTimeout: 5 * time.Second}); err != nil {
		log.Fatal(err)
	}
}

// run serves until SIGTERM.
func run(s *http.Server) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	go func() {
		<-ctx.Done()
		drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
		defer cancel()
		_ = s.Shutdown(drain) // what takes longer ends with the process
	}()
	if err := s.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func (f *front) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("GET /hotels", f.find)
	mux.HandleFunc("POST /bookings", f.book)
	mux.HandleFunc("GET /bookings", f.list)
	return mux
}

type room struct {
	Hotel string  `json:"hotel"`
	Name  string  `json:"name"`
	Phone string  `json:"phone"`
	Km    float64 `json:"km"`
	Cents int64   `json:"cents"`
}

// find lists hotels near a place that have a room for a stay.
func (f *front) find(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	lat, err := strconv.ParseFloat(q.Get("lat"), 64)
	lon, err2 := strconv.ParseFloat(q.Get("lon"), 64)
	if errors.Join(err, err2) != nil {
		fail(w, status.Error(codes.InvalidArgument, "lat and lon are numbers"))
		return
	}
	out, err := f.rooms(r.Context(), &hotelpb.Place{Lat: lat, Lon: lon}, &hotelpb.Stay{Arrive: q.Get("arrive"), Leave: q.Get("leave")})
	if err != nil {
		fail(w, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(out) // a client that is gone needs no answer
}

func (f *front) rooms(ctx context.Context, near *hotelpb.Place, stay *hotelpb.Stay) ([]room, error) {
	found, err := f.search.Find(ctx, &hotelpb.FindRequest{Near: near, Stay: stay})
	if err != nil {
		return nil, err
	}
	var names []string
	for _, o := range found.GetOffers() {
		names = append(names, o.GetHotel())
	}
	free, err := f.reservations.Free(ctx, &hotelpb.FreeRequest{Hotels: names, Stay: stay})
	if err != nil {
		return nil, err
	}
	profiles, err := f.describe(ctx, free.GetHotels())
	if err != nil {
		return nil, err
	}
	out := []room{}
	for _, o := range found.GetOffers() {
		if p := profiles[o.GetHotel()]; p != nil {
			out = append(out, room{o.GetHotel(), p.GetName(), p.GetPhone(), o.GetKm(), o.GetCents()})
		}
	}
	return out, nil
}

func (f *front) describe(ctx context.Context, hotels []string) (map[string]*hotelpb.Profile, error) {
	stream, err := f.profiles.Describe(ctx, &hotelpb.DescribeRequest{Hotels: hotels})
	if err != nil {
		return nil, err
	}
	out := map[string]*hotelpb.Profile{}
	for {
		p, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		out[p.GetHotel()] = p
	}
}

// book takes a room for whoever asks.
func (f *front) book(w http.ResponseWriter, r *http.Request) {
	var in struct{ Hotel, Arrive, Leave string }
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<16)).Decode(&in); err != nil {
		fail(w, status.Error(codes.InvalidArgument, "not a booking"))
		return
	}
	out, err := f.reservations.Book(r.Context(), &hotelpb.BookRequest{Hotel: in.Hotel, Guest: r.Header.Get(f.userHeader), Stay: &hotelpb.Stay{Arrive: in.Arrive, Leave: in.Leave}})
	answer(w, http.StatusCreated, out, err)
}

// list shows the bookings of whoever asks.
func (f *front) list(w http.ResponseWriter, r *http.Request) {
	out, err := f.reservations.List(r.Context(), &hotelpb.ListRequest{Guest: r.Header.Get(f.userHeader)})
	answer(w, http.StatusOK, out, err)
}

func answer(w http.ResponseWriter, code int, m proto.Message, err error) {
	if err != nil {
		fail(w, err)
		return
	}
	b, err := protojson.Marshal(m)
	if err != nil {
		fail(w, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_, _ = w.Write(b) // a client that is gone needs no answer
}

// fail answers for a call that failed: what the client did wrong by its message, anything else without.
func fail(w http.ResponseWriter, err error) {
	s, _ := status.FromError(err)
	code := map[codes.Code]int{codes.InvalidArgument: http.StatusBadRequest, codes.NotFound: http.StatusNotFound, codes.FailedPrecondition: http.StatusConflict}[s.Code()]
	if code == 0 {
		log.Print(err)
		http.Error(w, "something behind this failed", http.StatusBadGateway)
		return
	}
	http.Error(w, s.Message(), code)
}
