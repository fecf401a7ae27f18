package main

import (
	"net/http"
	"net/http/pprof"
	"runtime"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"sensorcast/telemetry"
)

// adminHandler serves what only the operator should see, on a listener of its own.
func adminHandler(s *server) http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), &collector{s})
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	return mux
}

// collector reads the parts' own figures when Prometheus asks. The parts count with plain atomics and know nothing of Prometheus.
type collector struct{ s *server }

// Describe sends nothing: the metrics are known when they are collected.
func (c *collector) Describe(chan<- *prometheus.Desc) {}

// Collect reads every part once.
func (c *collector) Collect(out chan<- prometheus.Metric) {
	e := emitter{out}
	e.gauge("build_info", "What is running.", 1, "version", versionString(), "goversion", runtime.Version())
	c.ingest(e)
	c.commands(e)
	c.inbox(e)
	c.alert(e)
	c.notify(e)
	c.pulse(e)
	c.rules(e)
	c.broker(e)
	c.bridge(e)
	c.store(e)
	c.auth(e)
	c.mail(e)
	c.audit(e)
	c.api(e)
	c.edge(e)
}

// emitter writes metrics; labels come as name, value, name, value.
type emitter struct{ out chan<- prometheus.Metric }

func (e emitter) count(name, help string, v int64, labels ...string) {
	e.emit(prometheus.CounterValue, name, help, float64(v), labels)
}

func (e emitter) gauge(name, help string, v float64, labels ...string) {
	e.emit(prometheus.GaugeValue, name, help, v, labels)
}

func (e emitter) emit(kind prometheus.ValueType, name, help string, v float64, labels []string) {
	var names, values []string
	for i := 0; i < len(labels); i += 2 {
		names, values = append(names, labels[i]), append(values, labels[i+1])
	}
	e.out <- prometheus.MustNewConstMetric(describe(name, help, names...), kind, v, values...)
}

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("sensorcast_"+name, help, labels, nil)
}

func (c *collector) ingest(e emitter) {
	s := c.s.pipe.Stats()
	for via, n := range s.Accepted {
		e.count("readings_accepted_total", "Readings taken.", n, "via", telemetry.Via(via).String())
	}
	e.count("readings_committed_total", "Readings made durable.", s.Committed)
	e.count("readings_failed_total", "Readings the store refused; never acknowledged.", s.Failed)
	e.count("readings_repeated_total", "Readings sent again and not shown twice.", s.Repeated)
	e.count("readings_shed_total", "QoS 0 readings given up under overload for a newer one.", s.Shed)
	e.count("messages_malformed_total", "Messages that could not be decoded.", s.Malformed)
	e.count("messages_refused_total", "Publishes and subscriptions outside a sensor's own topics.", s.Refused)
	e.count("ingest_waits_total", "Times a door was held back by a full queue.", s.Waits)
	e.gauge("ingest_queue_readings", "Readings waiting for the disk.", float64(s.Queued))
	e.gauge("ingest_queue_bytes", "Bytes of readings waiting for the disk.", float64(s.QueuedBytes))
	e.out <- prometheus.MustNewConstHistogram(describe("commit_duration_seconds", "Time of one transaction of readings, fsync included."),
		uint64(s.Commits), s.CommitSeconds, s.CommitBuckets)
}

func (c *collector) commands(e emitter) {
	s := c.s.commands.Stats()
	e.count("commands_created_total", "Commands taken for sensors.", s.Created)
	for outcome, n := range map[string]int64{"delivered": s.Delivered, "answered": s.Answered, "failed": s.Failed, "expired": s.Expired} {
		e.count("commands_settled_total", "Steps of commands after they were taken; one may be delivered and then answered.", n, "outcome", outcome)
	}
	e.count("command_replies_refused_total", "Replies that could not be read or belong to no command of their sensor.", s.Refused)
	e.count("command_commits_total", "Transactions that commands, acknowledgements and replies were written in.", s.Commits)
	e.gauge("commands_waiting", "Commands waiting for their sensors.", float64(s.Waiting))
	e.gauge("commands_waiting_sensors", "Sensors they wait for.", float64(s.Sensors))
}

func (c *collector) inbox(e emitter) {
	s := c.s.inbox.Stats()
	e.count("inbox_knocks_total", "Logins refused under serials that no sensor has.", s.Knocks)
	e.count("inbox_evicted_total", "Strangers forgotten for newer ones.", s.Evicted)
	e.gauge("inbox_strangers", "Strangers remembered.", float64(s.Strangers))
}

func (c *collector) alert(e emitter) {
	s := c.s.watch.Stats()
	for state, n := range map[telemetry.State][2]int64{
		telemetry.StateOnline:    {s.Online, int64(s.OnlineNow)},
		telemetry.StateSilent:    {s.Silent, int64(s.SilentNow)},
		telemetry.StateNeverSeen: {s.NeverSeen, int64(s.NeverSeenNow)},
	} {
		e.count("sensor_steps_total", "Steps of sensors to another state.", n[0], "state", string(state))
		e.gauge("sensors", "Sensors in each state.", float64(n[1]), "state", string(state))
	}
	for step, n := range map[string]int64{"opened": s.AlertsOpened, "acknowledged": s.AlertsAcknowledged, "resolved": s.AlertsResolved} {
		e.count("alerts_total", "Steps of alerts.", n, "step", step)
	}
	e.count("cadences_kept_total", "Times the rhythm of a sensor was written down.", s.Rhythms)
	e.count("silence_graces_total", "Times sensors were excused because the server had not listened or its clock was set.", s.Graces)
	e.count("silences_held_total", "Silences held back because the server did not hear itself.", s.Spared)
	e.count("silence_failures_total", "Times the store could not mark silent sensors or keep a heartbeat.", s.Failures)
	e.count("silence_audits_total", "Comparisons of remembered with stored states.", s.Audits)
	e.gauge("silence_audit_mismatches", "Sensors that differed in the last one; anything but 0 is a defect.", float64(s.Mismatches))
}

func (c *collector) notify(e emitter) {
	s := c.s.desk.Stats()
	e.count("notices_total", "Notices of alerts handed to their owners' channels.", s.Notices)
	for outcome, n := range map[string]int64{"sent": s.Sent, "refused": s.Refused, "retried": s.Retried, "test": s.Tests} {
		e.count("notice_attempts_total", "Messages sent, given up, failed for now, and tests.", n, "outcome", outcome)
	}
	e.count("notices_withdrawn_total", "Deliveries not made because their sensor was not the owner's any more.", s.Withdrawn)
	e.gauge("notice_deliveries_waiting", "Deliveries waiting, as of the last minute.", float64(s.Waiting))
	e.gauge("notice_attempts", "Attempts under way.", float64(s.Sending))
	e.gauge("notice_circuits_open", "Receiving hosts left alone because they do not work.", float64(s.OpenCircuits))
}

func (c *collector) pulse(e emitter) {
	s := c.s.pulse.Stats()
	e.count("self_tests_total", "Messages the server sent to itself over MQTT.", s.Tests)
	e.count("self_tests_failed_total", "Of these not acknowledged or not seen in time.", s.Failed)
	doubt := 0.0
	if s.Doubt {
		doubt = 1
	}
	e.gauge("self_test_doubt", "1: the server does not hear itself, so silence of sensors may be its own.", doubt)
	e.gauge("self_test_seconds", "From the connection to the reading's being seen, in the last test that worked.", s.Took.Seconds())
	e.count("heartbeats_total", "Requests to --heartbeat-url.", s.Beats, "outcome", "taken")
	e.count("heartbeats_total", "Requests to --heartbeat-url.", s.BeatErrors, "outcome", "failed")
}

func (c *collector) rules(e emitter) {
	s := c.s.rules.Stats()
	e.count("rule_readings_total", "Readings judged by rules.", s.Readings)
	e.count("rule_readings_late_total", "Readings older than one judged before, which move no rule.", s.Late)
	e.count("rule_values_unusable_total", "Values that rules cannot compare.", s.Unusable)
	e.count("rule_previews_total", "Rules tried on the past.", s.Previews)
	e.count("rule_failures_total", "Times the store could not be asked about rules, or told of what they found.", s.Failures)
	e.gauge("rules", "Rules there are.", float64(s.RulesNow))
	e.gauge("rule_sensors", "Sensors that are judged by any rule.", float64(s.SensorsNow))
	e.gauge("rule_holding", "Pairs of a rule and a sensor that it holds for, with an alert or not yet.", float64(s.HoldingNow))
}

func (c *collector) broker(e emitter) {
	s := c.s.broker.Stats()
	e.gauge("mqtt_connections", "MQTT connections open.", float64(s.Connections))
	e.gauge("mqtt_connections_pending", "Of these not logged in yet.", float64(s.Pending))
	e.gauge("mqtt_sessions", "MQTT sessions, with those kept for absent clients.", float64(s.Sessions))
	e.gauge("mqtt_subscriptions", "MQTT subscriptions.", float64(s.Subscriptions))
	e.gauge("mqtt_retained_messages", "Retained messages of sensors.", float64(s.Retained))
	e.gauge("mqtt_retained_bytes", "Bytes of retained messages.", float64(s.RetainedBytes))
	e.count("mqtt_accepted_total", "MQTT sockets accepted.", s.Accepted)
	e.count("mqtt_accept_errors_total", "Failed accepts, each retried.", s.AcceptErrors)
	for reason, n := range map[string]int64{"credentials": s.LoginFailures, "throttled": s.Throttled, "crowded": s.Crowded} {
		e.count("mqtt_logins_refused_total", "MQTT logins refused.", n, "reason", reason)
	}
	for reason, n := range map[string]int64{
		"takeover": s.Takeovers, "revoked": s.Revoked, "panic": s.Panics, "violation": s.Violations,
		"slow": s.Slow, "stalled": s.Stalled, "unstored": s.Unstored, "unavailable": s.Unavailable,
	} {
		e.count("mqtt_disconnected_total", "MQTT connections the server ended.", n, "reason", reason)
	}
	e.count("mqtt_read_pauses_total", "Times a connection was not read because too much of it was uncommitted.", s.ReadPauses)
	for budget, n := range map[string]int64{"messages": s.Paced, "bytes": s.PacedBytes} {
		e.count("mqtt_paced_total", "Times a connection was not read because it had published more than its rate.", n, "budget", budget)
	}
	e.count("mqtt_publishes_refused_total", "Publishes outside the client's own topics.", s.RefusedPublishes)
	e.count("mqtt_subscriptions_refused_total", "Subscriptions not granted.", s.RefusedFilters)
	e.count("mqtt_retain_refused_total", "Publishes relayed but not retained for lack of room.", s.RetainRefused)
	e.count("mqtt_deliveries_dropped_total", "Deliveries dropped because the subscriber's queue was full.", s.Dropped, "queue", "subscriber")
	e.count("mqtt_deliveries_dropped_total", "Deliveries dropped because the subscriber's queue was full.", s.RelayDropped, "queue", "relay")
	e.count("mqtt_deliveries_dropped_total", "Deliveries dropped because the subscriber's queue was full.", s.AlertsDropped, "queue", "alerts")
	for direction, n := range map[string][2]int64{"received": {s.BytesReceived, s.PacketsReceived}, "sent": {s.BytesSent, s.PacketsSent}} {
		e.count("mqtt_bytes_total", "Bytes of MQTT packets.", n[0], "direction", direction)
		e.count("mqtt_packets_total", "MQTT packets.", n[1], "direction", direction)
	}
}

func (c *collector) bridge(e emitter) {
	s := c.s.hub.Stats()
	e.gauge("websocket_sessions", "Viewers' and sensors' sessions open: WebSockets and event streams.", float64(s.Sessions))
	e.gauge("websocket_sensors_watched", "Sensors somebody watches.", float64(s.Watched))
	e.count("websocket_opened_total", "WebSocket upgrades.", s.Opened)
	e.count("event_streams_opened_total", "Event streams opened.", s.Streams)
	for reason, n := range s.Refused {
		e.count("websocket_refused_total", "WebSocket upgrades and event streams refused.", n, "reason", reason)
	}
	for code, n := range s.Closed {
		e.count("websocket_closed_total", "WebSocket sessions ended.", n, "code", strconv.Itoa(code))
	}
	e.count("mqtt_websockets_total", "WebSocket upgrades to carry MQTT.", s.Tunnels)
	e.count("websocket_frames_total", "Frames sent.", s.Frames)
	e.count("websocket_writes_total", "Writes they left in; the quotient is the coalescing.", s.Writes)
	e.count("websocket_bytes_total", "Bytes of frames sent.", s.Bytes)
	e.count("websocket_messages_received_total", "Messages from clients.", s.Received)
	e.count("websocket_conflations_total", "Times a viewer could not keep up.", s.Conflated)
	e.count("websocket_readings_dropped_total", "Readings left out for slow viewers, each announced.", s.Dropped)
}

func (c *collector) store(e emitter) {
	s := c.s.store.Stats()
	e.count("store_commits_total", "Batches of readings made durable.", s.Commits)
	e.count("store_failures_total", "Batches that failed.", s.Failures)
	e.count("store_readings_total", "Readings stored.", s.Recorded)
	e.count("store_duplicates_total", "Readings skipped because they were stored already.", s.Duplicates)
	e.count("store_expired_total", "Readings deleted for their age.", s.Expired)
	e.count("store_purged_total", "Readings deleted with their sensor.", s.Purged)
	e.gauge("store_unindexed_readings", "Readings not yet in the history index.", float64(s.Unindexed))
	e.gauge("store_disk_bytes", "Size of the database with its write-ahead log.", float64(s.DiskBytes))
	e.gauge("store_wal_bytes", "Size of the write-ahead log.", float64(s.WALBytes))
}

func (c *collector) auth(e emitter) {
	s := c.s.auth.Stats()
	e.count("logins_total", "Passwords proven.", s.Logins)
	for reason, n := range map[string]int64{"credentials": s.LoginFailures, "throttled": s.LoginsThrottled, "overloaded": s.LoginsOverloaded} {
		e.count("logins_refused_total", "Logins refused.", n, "reason", reason)
	}
	e.gauge("logins_waiting", "Logins waiting for a slot.", float64(s.LoginsWaiting))
	e.count("registrations_total", "Accounts made.", s.Registrations)
	e.count("registrations_throttled_total", "Registrations refused for being too many.", s.RegistrationsThrottled)
	e.count("letters_throttled_total", "Letters not written because there were too many.", s.LettersThrottled)
	e.count("refreshes_total", "Refresh tokens rotated.", s.Refreshes)
	e.count("refreshes_reused_total", "Sessions ended because a refresh token came again.", s.RefreshesReused)
	e.count("tickets_minted_total", "Tickets made.", s.TicketsMinted)
	e.count("tickets_throttled_total", "Tickets refused for being too many.", s.TicketsThrottled)
	e.count("tickets_redeemed_total", "Tickets redeemed.", s.TicketsRedeemed)
	e.count("tickets_refused_total", "Tickets refused at redemption.", s.TicketsRefused)
	e.count("tickets_replayed_total", "Of these used before.", s.TicketsReplayed)
	e.count("resumes_redeemed_total", "Resume tokens redeemed.", s.ResumesRedeemed)
	e.count("resumes_refused_total", "Resume tokens refused at redemption.", s.ResumesRefused)
	e.count("resumes_replayed_total", "Of these used before.", s.ResumesReplayed)
	e.gauge("api_tokens", "API tokens of all accounts.", float64(s.APITokens))
	e.count("api_tokens_refused_total", "Requests and logins with an API token that is none, or none any more.", s.APITokensRefused)
	e.count("claims_throttled_total", "Attempts to claim a sensor refused for being too many.", s.ClaimsThrottled)
}

func (c *collector) mail(e emitter) {
	if c.s.mail == nil {
		return
	}
	s := c.s.mail.Stats()
	for outcome, n := range map[string]int64{"sent": s.Sent, "failed": s.Failed, "dropped": s.Dropped} {
		e.count("letters_total", "Letters that left the queue.", n, "outcome", outcome)
	}
	e.count("letter_retries_total", "Attempts to send a letter that failed for a time.", s.Retried)
	e.gauge("letters_waiting", "Letters waiting to be sent.", float64(s.Waiting))
}

func (c *collector) audit(e emitter) {
	s := c.s.trail.Stats()
	e.count("audit_entries_total", "Entries of the audit trail written.", s.Written)
	e.count("audit_entries_lost_total", "Entries the store did not take; each is in the log.", s.Lost)
}

func (c *collector) api(e emitter) {
	s := c.s.api.Stats()
	for class, n := range map[string]int64{"2xx": s.OK, "3xx": s.Redirected, "4xx": s.ClientError, "5xx": s.ServerError} {
		e.count("http_requests_total", "REST requests answered.", n, "class", class)
	}
}

func (c *collector) edge(e emitter) {
	if c.s.tls != nil {
		s := c.s.tls.Stats()
		if !s.NotAfter.IsZero() {
			e.gauge("tls_certificate_expiry_seconds", "When the certificate in force ends, in Unix time.", float64(s.NotAfter.Unix()))
		}
		e.count("tls_files_read_total", "Times certificate files were read.", s.Reloads)
		e.count("tls_files_failed_total", "Times certificate files could not be used and the old ones stayed.", s.Failures)
	}
	var refused int64
	for _, p := range c.s.proxied {
		refused += p.Refused()
	}
	e.count("proxy_protocol_refused_total", "Connections of trusted proxies closed for want of a valid header.", refused)
}
