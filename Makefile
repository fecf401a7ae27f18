# make run    build everything and start the demo
# make test   everything that must pass: Go, web, end to end with real tools and a real browser
# make check  format, vet, staticcheck, race tests, web checks
# make bench  the measurements, side by side with other servers, in about 22 minutes; OUT=docs/performance.md writes the page, FLAGS="-rows A,B" and so on

GO       ?= go
BIN      := bin/sensorcast
VERSION  := $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
GO_FILES := $(shell find . -name '*.go' -not -name '*_test.go' -not -path './web/node_modules/*' -not -path './bench/*')
API_FILES := $(filter ./api/% ./auth/% ./command/% ./ingest/% ./telemetry/% ./cmd/%,$(GO_FILES))
WEB_FILES := $(shell find web -type f -not -path 'web/node_modules/*' -not -path 'web/dist/*' -not -path 'web/client/dist/*' -not -path 'web/e2e/*' \
	-not -name '*.go' -not -name openapi.json -not -name api.gen.ts)
export CGO_ENABLED = 1

.PHONY: run build test check bench need need-test format vet lint web-check go-test fuzz web-test e2e clean

run: build
	@exec ./$(BIN) demo

build: $(BIN)

need:
	@scripts/need go cc node npm

need-test: need
	@scripts/need --install mosquitto_pub mosquitto_sub mosquitto chromium python3-paho-mqtt python3-django-channels curl

$(BIN): $(GO_FILES) go.mod go.sum web/dist/index.html
	@echo "building $@"
	@$(GO) build -trimpath -ldflags "-s -w -X main.version=$(VERSION)" -o $@ ./cmd/sensorcast

# The dashboard's API types come from the server's own description, so that they cannot drift apart.
web/openapi.json: $(API_FILES) go.mod go.sum | need
	@echo "describing the REST interface (the first time compiles SQLite, about a minute)"
	@mkdir -p web/dist && touch web/dist/.gitkeep
	@$(GO) run ./cmd/sensorcast openapi > $@.tmp && mv $@.tmp $@

web/node_modules/.package-lock.json: web/package.json web/package-lock.json | need
	@echo "installing the dashboard's packages"
	@cd web && npm ci --no-audit --no-fund --loglevel=error && touch node_modules/.package-lock.json

web/dist/index.html: web/node_modules/.package-lock.json web/openapi.json $(WEB_FILES)
	@echo "building the dashboard"
	@cd web && npm run --silent gen && npm run --silent build

check: need-test format vet lint web-check
	$(GO) test -race -short -shuffle=on ./...

format:
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { echo "not formatted:"; gofmt -l $$(git ls-files '*.go'); exit 1; }

vet: web/openapi.json
	$(GO) vet ./...

lint:
	$(GO) tool -modfile=tools/go.mod staticcheck ./...

web-check: web/dist/index.html
	cd web && npm run --silent check

test: need-test go-test fuzz web-test e2e

go-test: $(BIN)
	$(GO) test -shuffle=on -timeout 20m ./...

# A short look for what nobody thought of; FUZZTIME=10m is a long one.
FUZZTIME ?= 5s
fuzz:
	$(GO) test ./bridge -run '^$$' -fuzz FuzzTranscript_AnyFrames -fuzztime $(FUZZTIME)
	$(GO) test ./bridge -run '^$$' -fuzz FuzzDecoder_Bytes -fuzztime $(FUZZTIME)
	$(GO) test ./broker -run '^$$' -fuzz FuzzConn_AnyBytes -fuzztime $(FUZZTIME)
	$(GO) test ./notify -run '^$$' -fuzz FuzzParseTarget -fuzztime $(FUZZTIME)
	$(GO) test ./telemetry -run '^$$' -fuzz FuzzValidFilter -fuzztime $(FUZZTIME)
	$(GO) test ./telemetry/format -run '^$$' -fuzz FuzzDecode -fuzztime $(FUZZTIME)
	$(GO) test ./telemetry/format -run '^$$' -fuzz FuzzScan -fuzztime $(FUZZTIME)
	$(GO) test ./telemetry/roster -run '^$$' -fuzz FuzzRead -fuzztime $(FUZZTIME)

web-test: web/dist/index.html
	cd web && npm test --silent

e2e: $(BIN)
	cd web && SENSORCAST_BIN=../$(BIN) npm run --silent e2e

bench: $(BIN)
	@scripts/need --install mosquitto python3-django-channels
	$(GO) run ./bench -sensorcast $(BIN) $(if $(OUT),-out $(OUT)) $(FLAGS)

clean:
	rm -rf bin web/dist/assets web/dist/*.html web/dist/client.js web/client/dist web/node_modules web/openapi.json web/src/api.gen.ts
