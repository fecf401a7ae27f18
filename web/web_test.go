package web

import (
	"compress/gzip"
	"crypto/tls"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/fstest"
)

var page = "<!doctype html><title>Sensorcast</title>"

func built() http.Handler {
	return newHandler(fstest.MapFS{
		".gitkeep":              {},
		"index.html":            {Data: []byte(page)},
		"docs.html":             {Data: []byte("<!doctype html><title>API</title>")},
		"favicon.svg":           {Data: []byte("<svg/>")},
		"client.js":             {Data: []byte("export const connect = 1;")},
		"assets/index-1a2b.js":  {Data: []byte(strings.Repeat("export const a = 1;\n", 200))},
		"assets/index-1a2b.css": {Data: []byte("body{margin:0}")},
	})
}

func get(t *testing.T, h http.Handler, target string, header ...string) *http.Response {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, target, nil)
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

func body(t *testing.T, reply *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(reply.Body)
	if err != nil {
		t.Fatalf("read body: %v", err)
	}
	return string(b)
}

func TestHandler_ServesFilesAndPages(t *testing.T) {
	tests := []struct {
		path, wantType, wantCache, wantBody string
		wantStatus                          int
	}{
		{"/", "text/html; charset=utf-8", "no-cache", "Sensorcast", 200},
		{"/index.html", "text/html; charset=utf-8", "no-cache", "Sensorcast", 200},
		{"/add", "text/html; charset=utf-8", "no-cache", "Sensorcast", 200},
		{"/sensors/SN1", "text/html; charset=utf-8", "no-cache", "Sensorcast", 200},
		{"/sensors/roof.north:1", "text/html; charset=utf-8", "no-cache", "Sensorcast", 200},
		{"/claim/roof.north:1", "text/html; charset=utf-8", "no-cache", "Sensorcast", 200},
		{"/docs", "text/html; charset=utf-8", "no-cache", "API", 200},
		{"/docs/", "text/html; charset=utf-8", "no-cache", "API", 200},
		{"/favicon.svg", "image/svg+xml", "no-cache", "<svg/>", 200},
		{"/client.js", "text/javascript; charset=utf-8", "public, max-age=300", "connect", 200},
		{"/assets/index-1a2b.js", "text/javascript; charset=utf-8", "public, max-age=31536000, immutable", "export", 200},
		{"/assets/index-1a2b.css", "text/css; charset=utf-8", "public, max-age=31536000, immutable", "margin", 200},
		{"/assets/index-old.js", "", "", "", 404},
		{"/favicon.ico", "", "", "", 404},
		{"/.gitkeep", "", "", "", 404},
		{"/api/v1/nothing", "", "", "", 404},
		{"/api", "", "", "", 404},
		{"/../web.go", "", "", "", 404},
	}
	for _, tt := range tests {
		t.Run(tt.path, func(t *testing.T) {
			reply := get(t, built(), tt.path)
			if reply.StatusCode != tt.wantStatus {
				t.Fatalf("GET %s: got status %d, want %d", tt.path, reply.StatusCode, tt.wantStatus)
			}
			if tt.wantStatus != 200 {
				return
			}
			if got := reply.Header.Get("Content-Type"); got != tt.wantType {
				t.Errorf("GET %s: got type %q, want %q", tt.path, got, tt.wantType)
			}
			if got := reply.Header.Get("Cache-Control"); got != tt.wantCache {
				t.Errorf("GET %s: got cache %q, want %q", tt.path, got, tt.wantCache)
			}
			if got := body(t, reply); !strings.Contains(got, tt.wantBody) {
				t.Errorf("GET %s: got body %q, want it to contain %q", tt.path, got, tt.wantBody)
			}
		})
	}
}

func TestHandler_OtherMethodsAreRefused(t *testing.T) {
	w := httptest.NewRecorder()
	built().ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/add", nil))
	if w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") != "GET, HEAD" {
		t.Errorf("POST /add: got %d, Allow %q; want 405, Allow \"GET, HEAD\"", w.Code, w.Header().Get("Allow"))
	}
}

func TestHandler_SendsGzipOnlyWhenAccepted(t *testing.T) {
	const script = "/assets/index-1a2b.js"
	plain := body(t, get(t, built(), script))
	for accept, want := range map[string]bool{"gzip, br": true, "br;q=1, gzip;q=0.5": true, "": false, "br": false, "gzip;q=0": false, "gzip; q=0.0": false} {
		reply := get(t, built(), script, "Accept-Encoding", accept)
		zipped := reply.Header.Get("Content-Encoding") == "gzip"
		if zipped != want {
			t.Errorf("Accept-Encoding %q: got gzip %t, want %t", accept, zipped, want)
			continue
		}
		if got := reply.Header.Get("Vary"); got != "Accept-Encoding" {
			t.Errorf("Accept-Encoding %q: got Vary %q, want Accept-Encoding", accept, got)
		}
		if !zipped {
			continue
		}
		zip, err := gzip.NewReader(reply.Body)
		if err != nil {
			t.Fatalf("Accept-Encoding %q: %v", accept, err)
		}
		got, err := io.ReadAll(zip)
		if err != nil || string(got) != plain {
			t.Errorf("Accept-Encoding %q: got %d bytes (err %v), want the %d of the file", accept, len(got), err, len(plain))
		}
	}
}

func TestHandler_UnchangedPageIsNotSentAgain(t *testing.T) {
	h := built()
	etag := get(t, h, "/").Header.Get("ETag")
	if etag == "" {
		t.Fatal("GET /: got no ETag, want one")
	}
	if got := get(t, h, "/", "If-None-Match", etag).StatusCode; got != http.StatusNotModified {
		t.Errorf("GET / with its ETag: got %d, want 304", got)
	}
}

// Pages of other origins import the client; nothing else here is theirs to read.
func TestHandler_OnlyTheClientIsForOtherOrigins(t *testing.T) {
	for path, want := range map[string]string{"/client.js": "*", "/": "", "/docs": "", "/assets/index-1a2b.js": "", "/missing.js": ""} {
		reply := get(t, built(), path, "Origin", "https://page.example")
		if got := reply.Header.Get("Access-Control-Allow-Origin"); got != want {
			t.Errorf("GET %s: got Access-Control-Allow-Origin %q, want %q", path, got, want)
		}
		if got := reply.Header.Get("Access-Control-Allow-Credentials"); got != "" {
			t.Errorf("GET %s: got Access-Control-Allow-Credentials %q, want none", path, got)
		}
	}
}

func TestHandler_SetsSecurityHeaders(t *testing.T) {
	for _, path := range []string{"/", "/docs", "/assets/index-1a2b.js", "/missing.js"} {
		header := get(t, built(), "http://box.example:8080"+path).Header
		for name, want := range map[string]string{
			"X-Content-Type-Options":     "nosniff",
			"Referrer-Policy":            "no-referrer",
			"Cross-Origin-Opener-Policy": "same-origin",
			"Strict-Transport-Security":  "",
		} {
			if got := header.Get(name); got != want {
				t.Errorf("GET %s: got %s %q, want %q", path, name, got, want)
			}
		}
		csp := header.Get("Content-Security-Policy")
		if want := "connect-src 'self' ws://box.example:8080 wss://box.example:8080;"; !strings.Contains(csp, want) {
			t.Errorf("GET %s: got policy %q, want it to contain %q", path, csp, want)
		}
		if got, want := strings.Contains(csp, "unsafe-inline"), path == "/docs"; got != want {
			t.Errorf("GET %s: got inline styles allowed %t, want %t", path, got, want)
		}
		if strings.Contains(csp, "script-src 'self' 'unsafe") {
			t.Errorf("GET %s: got policy %q, want no unsafe script", path, csp)
		}
	}
}

func TestHandler_StrictTransportOnlyOverTLS(t *testing.T) {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.TLS = &tls.ConnectionState{}
	w := httptest.NewRecorder()
	built().ServeHTTP(w, r)
	if got := w.Header().Get("Strict-Transport-Security"); got == "" {
		t.Error("GET / over TLS: got no Strict-Transport-Security, want one")
	}
}

// A Host header is the caller's text; it must not be able to add directives.
func TestHandler_HostCannotExtendPolicy(t *testing.T) {
	for _, host := range []string{"a;script-src *", "a,b", "a b", "*", "a:80;x"} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Host = host
		w := httptest.NewRecorder()
		built().ServeHTTP(w, r)
		if csp := w.Header().Get("Content-Security-Policy"); !strings.Contains(csp, "connect-src 'self';") {
			t.Errorf("Host %q: got policy %q, want connect-src 'self' alone", host, csp)
		}
	}
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Host = "[::1]:8080"
	w := httptest.NewRecorder()
	built().ServeHTTP(w, r)
	if csp := w.Header().Get("Content-Security-Policy"); !strings.Contains(csp, "ws://[::1]:8080 ") {
		t.Errorf("Host [::1]:8080: got policy %q, want its ws origin", csp)
	}
}

func TestHandler_WithoutBundleSaysSo(t *testing.T) {
	h := newHandler(fstest.MapFS{".gitkeep": {}})
	for _, path := range []string{"/", "/add", "/docs"} {
		reply := get(t, h, path)
		if reply.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("GET %s: got %d, want 503", path, reply.StatusCode)
		}
		if got := body(t, reply); !strings.Contains(got, "run make") {
			t.Errorf("GET %s: got %q, want it to say how to build", path, got)
		}
	}
}

// Holds for a binary with the dashboard and for one without.
func TestHandler_EmbeddedBundleIsWholeOrAbsent(t *testing.T) {
	h := Handler()
	reply := get(t, h, "/")
	if reply.StatusCode == http.StatusServiceUnavailable {
		t.Skip("dashboard not built")
	}
	for _, path := range []string{"/", "/docs", "/favicon.svg", "/client.js"} {
		if got := get(t, h, path).StatusCode; got != http.StatusOK {
			t.Errorf("GET %s: got %d, want 200", path, got)
		}
	}
	html := body(t, reply)
	if strings.Contains(html, "<script>") || strings.Contains(html, "style=") {
		t.Errorf("index.html: got inline script or style, want none: %s", html)
	}
	for _, attribute := range []string{`src="`, `href="`} {
		for _, part := range strings.Split(html, attribute)[1:] {
			file, _, _ := strings.Cut(part, `"`)
			if got := get(t, h, file).StatusCode; got != http.StatusOK {
				t.Errorf("index.html names %s: got %d, want 200", file, got)
			}
		}
	}
}
