package main

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// mayImport is the architecture: which of our packages each package may import. Adapters are blind to each other.
var mayImport = map[string][]string{
	"telemetry":        {},
	"telemetry/format": {"telemetry"},
	"telemetry/roster": {"telemetry"},
	"session":          {"telemetry"},
	"wire":             {},
	"auth":             {"telemetry"},
	"auth/authtest":    {"telemetry", "auth"},
	"ingest":           {"telemetry", "telemetry/format", "session"},
	"command":          {"telemetry", "auth"},
	"notify":           {"telemetry", "auth"},
	"pulse":            {"telemetry", "auth", "ingest"},
	"audit":            {"telemetry", "auth"},
	"inbox":            {"telemetry", "auth"},
	"store":            {"telemetry", "session", "auth", "ingest", "command", "inbox", "audit", "notify"},
	"broker":           {"telemetry", "session", "auth", "ingest", "command", "wire"},
	"bridge":           {"telemetry", "auth", "ingest", "command", "wire"},
	"api":              {"telemetry", "telemetry/roster", "auth", "ingest", "command", "inbox", "audit", "notify"},
	"alert":            {"telemetry", "auth", "ingest", "alert/cadence", "alert/rule"},
	"alert/cadence":    {},
	"alert/rule":       {"telemetry"},
	"edge":             {"telemetry"},
	"mail":             {},
	"simulator":        {"telemetry"},
	"web":              {},
	"cmd/sensorcast":   {"telemetry", "auth", "audit", "ingest", "command", "inbox", "notify", "wire", "store", "broker", "bridge", "api", "alert", "pulse", "simulator", "edge", "mail", "web"},
	"bench":            {"simulator"},
	"drive":            {}, // tests only, as the next
	"drive/hostile":    {},
}

// home is the one package that may import each third-party module. The bench is a guest everywhere: it measures others.
var home = map[string]string{
	"github.com/mochi-mqtt/server/v2":         "broker",
	"github.com/gorilla/websocket":            "bridge",
	"github.com/danielgtaylor/huma/v2":        "api",
	"github.com/pires/go-proxyproto":          "edge",
	"golang.org/x/crypto/acme":                "edge",
	"github.com/golang-jwt/jwt/v5":            "auth",
	"github.com/wneessen/go-mail":             "mail",
	"github.com/alexedwards/argon2id":         "auth",
	"github.com/expr-lang/expr":               "alert/rule",
	"github.com/mattn/go-sqlite3":             "store",
	"github.com/pressly/goose/v3":             "store",
	"github.com/eclipse/paho.mqtt.golang":     "simulator",
	"github.com/HdrHistogram/hdrhistogram-go": "simulator",
	"github.com/alecthomas/kong":              "cmd/sensorcast",
	"go.yaml.in/yaml/v3":                      "cmd/sensorcast",
	"github.com/prometheus/client_golang":     "cmd/sensorcast",
	"github.com/lmittmann/tint":               "cmd/sensorcast",
	"golang.org/x/term":                       "cmd/sensorcast",
}

func TestArchitecture_ImportsPointDownAndModulesStayHome(t *testing.T) {
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports,Standard", "-deps", "sensorcast/...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	type pkg struct {
		ImportPath string
		Imports    []string
		Standard   bool
	}
	standard := map[string]bool{"C": true}
	var ours []pkg
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("read go list: %v", err)
		}
		standard[p.ImportPath] = p.Standard || p.ImportPath == "C"
		if strings.HasPrefix(p.ImportPath, "sensorcast/") {
			ours = append(ours, p)
		}
	}
	for _, p := range ours {
		name := strings.TrimPrefix(p.ImportPath, "sensorcast/")
		allowed, known := mayImport[name]
		if !known {
			t.Errorf("package %s has no place in the architecture yet: give it one in mayImport", name)
			continue
		}
		for _, imp := range p.Imports {
			if inner, ok := strings.CutPrefix(imp, "sensorcast/"); ok {
				if !slices.Contains(allowed, inner) {
					t.Errorf("%s imports %s; it may import %v", name, inner, allowed)
				}
				continue
			}
			if standard[imp] || name == "bench" {
				continue
			}
			if got := homeOf(imp); got != name {
				t.Errorf("%s imports %s, whose home is %q", name, imp, got)
			}
		}
	}
}

// homeOf finds the home of the module that holds an import path. Test-only and transitive modules have none.
func homeOf(imp string) string {
	for module, place := range home {
		if imp == module || strings.HasPrefix(imp, module+"/") {
			return place
		}
	}
	if strings.HasPrefix(imp, "golang.org/x/sys") {
		return "store" // file locks
	}
	return "none: name it in home"
}
