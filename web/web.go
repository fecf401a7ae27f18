// Package web carries the built dashboard inside the binary and serves it.
//
// The bundle under dist/ is made by `npm run build` and embedded at compile time. A binary compiled without it still
// works; its pages then say how to build them. The handler knows nothing of the API: whoever wires the server mounts
// it at "/", below the more specific routes.
package web

import (
	"embed"
	"io/fs"
	"net/http"
	"path"
	"regexp"
	"strings"
)

// The prefix "all:" takes the placeholder dist/.gitkeep too, so that the pattern matches before the first build.
//
//go:embed all:dist
var dist embed.FS

// Handler serves the embedded dashboard. It is safe for concurrent use.
func Handler() http.Handler {
	bundle, err := fs.Sub(dist, "dist")
	if err != nil {
		panic(err) // "dist" is a constant, valid path
	}
	return newHandler(bundle)
}

type handler struct {
	assets map[string]*asset // by path without the leading slash; fixed after newHandler
}

func newHandler(bundle fs.FS) http.Handler {
	return &handler{assets: loadAssets(bundle)}
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	secure(w.Header(), r)
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return
	}
	name := strings.TrimPrefix(path.Clean("/"+r.URL.Path), "/")
	switch {
	case name == "docs" || name == "docs.html":
		w.Header().Set("Content-Security-Policy", policy(r, "'self' 'unsafe-inline'"))
		h.serve(w, r, "docs.html")
	case h.assets[name] != nil:
		h.serve(w, r, name)
	case isPage(name):
		h.serve(w, r, "index.html")
	default:
		http.NotFound(w, r)
	}
}

func (h *handler) serve(w http.ResponseWriter, r *http.Request, name string) {
	a := h.assets[name]
	if a == nil {
		notBuilt(w)
		return
	}
	switch {
	case strings.HasPrefix(name, "assets/"):
		// The name contains a hash of the content: a new build has new names.
		w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	case name == clientFile:
		w.Header().Set("Cache-Control", "public, max-age=300")
		// A module is fetched with CORS wherever the page is from. It is the same for everybody and holds no secret.
		w.Header().Set("Access-Control-Allow-Origin", "*")
	default:
		w.Header().Set("Cache-Control", "no-cache")
	}
	a.serve(w, r)
}

// clientFile is the client of web/client, built into one module, for pages that have no bundler. Its name stays, so that it may be cached
// for minutes only: a new server brings a new one.
const clientFile = "client.js"

// isPage reports whether a path that is no file belongs to the dashboard's own router. A dot means a missing file, to be
// answered 404 rather than with HTML, except below sensors/ and claim/ where serial numbers may contain dots. Paths of the API that
// reach this handler are mistakes of the caller, who expects no page either.
func isPage(name string) bool {
	if name == "api" || strings.HasPrefix(name, "api/") {
		return false
	}
	return strings.HasPrefix(name, "sensors/") || strings.HasPrefix(name, "claim/") || !strings.Contains(name, ".")
}

// plainHost is what a Host header may look like to be repeated in a policy; net/http lets ";" and "," through.
var plainHost = regexp.MustCompile(`^[A-Za-z0-9.\-]+(:[0-9]+)?$|^\[[0-9A-Fa-f:.]+\](:[0-9]+)?$`)

// policy is the content security policy. Older browsers do not count ws: as 'self', so the socket's origin is spelled out.
func policy(r *http.Request, styles string) string {
	connect := "'self'"
	if plainHost.MatchString(r.Host) {
		connect += " ws://" + r.Host + " wss://" + r.Host
	}
	return "default-src 'none'; script-src 'self'; style-src " + styles + "; img-src 'self' data:; font-src 'self'; " +
		"connect-src " + connect + "; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
}

func secure(header http.Header, r *http.Request) {
	header.Set("Content-Security-Policy", policy(r, "'self'"))
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Referrer-Policy", "no-referrer")
	header.Set("Cross-Origin-Opener-Policy", "same-origin")
	if r.TLS != nil {
		header.Set("Strict-Transport-Security", "max-age=31536000")
	}
}

func notBuilt(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusServiceUnavailable)
	_, _ = w.Write([]byte("The dashboard is not built into this binary: run make.\n\n" +
		"Everything else works: MQTT, the REST API under /api/v1 and its description at /openapi.json.\n"))
}
