package web

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strings"
	"sync"
	"time"
)

// minGzipBytes is where compression starts to save a packet.
const minGzipBytes = 1024

// asset is one file of the bundle, ready to be sent.
type asset struct {
	contentType string
	etag        string
	raw         []byte
	gzipped     func() []byte // nil when the file does not shrink; compresses on first use
}

// contentTypes is our own table because mime.TypeByExtension also reads the machine's, which may differ or be wrong.
var contentTypes = map[string]string{
	".html":  "text/html; charset=utf-8",
	".js":    "text/javascript; charset=utf-8",
	".css":   "text/css; charset=utf-8",
	".svg":   "image/svg+xml",
	".json":  "application/json",
	".png":   "image/png",
	".woff2": "font/woff2",
	".txt":   "text/plain; charset=utf-8",
}

// loadAssets reads the whole bundle; hidden files such as the placeholder are not part of it.
func loadAssets(bundle fs.FS) map[string]*asset {
	assets := make(map[string]*asset)
	err := fs.WalkDir(bundle, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || strings.HasPrefix(entry.Name(), ".") {
			return err
		}
		raw, err := fs.ReadFile(bundle, name)
		if err != nil {
			return err
		}
		assets[name] = newAsset(name, raw)
		return nil
	})
	if err != nil {
		panic(err) // the bundle is part of the executable; it cannot fail to be read
	}
	return assets
}

func newAsset(name string, raw []byte) *asset {
	sum := sha256.Sum256(raw)
	a := &asset{contentType: contentTypes[path.Ext(name)], etag: hex.EncodeToString(sum[:12]), raw: raw}
	if a.contentType == "" {
		a.contentType = mime.TypeByExtension(path.Ext(name))
	}
	if a.contentType == "" {
		a.contentType = "application/octet-stream"
	}
	text := strings.HasPrefix(a.contentType, "text/") || strings.Contains(a.contentType, "json") || strings.Contains(a.contentType, "svg")
	if text && len(raw) >= minGzipBytes {
		a.gzipped = sync.OnceValue(func() []byte { return compress(raw) })
	}
	return a
}

// serve answers with the body the client can read, or 304. Ranges and HEAD are left to http.ServeContent.
func (a *asset) serve(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("Content-Type", a.contentType)
	body, etag := a.raw, a.etag
	if a.gzipped != nil {
		header.Set("Vary", "Accept-Encoding")
		if acceptsGzip(r.Header.Get("Accept-Encoding")) {
			// A different representation needs a different validator (RFC 9110 §8.8.3.3).
			body, etag = a.gzipped(), a.etag+"-gz"
			header.Set("Content-Encoding", "gzip")
		}
	}
	header.Set("ETag", `"`+etag+`"`)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
}

// acceptsGzip reports whether gzip is listed and not refused with q=0.
func acceptsGzip(accept string) bool {
	for _, item := range strings.Split(accept, ",") {
		coding, params, _ := strings.Cut(item, ";")
		if strings.TrimSpace(coding) != "gzip" {
			continue
		}
		q := strings.ReplaceAll(params, " ", "")
		return strings.Trim(strings.TrimPrefix(q, "q="), "0.") != "" || q == ""
	}
	return false
}

func compress(raw []byte) []byte {
	var out bytes.Buffer
	// Writes to a buffer cannot fail.
	zip := gzip.NewWriter(&out)
	_, _ = zip.Write(raw)
	_ = zip.Close()
	return out.Bytes()
}
