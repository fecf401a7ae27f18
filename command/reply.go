package command

import (
	"encoding/json"

	"sensorcast/telemetry"
)

// maxIDBytes is more than any id of ours; a longer one is not looked up.
const maxIDBytes = 64

// reply is what a sensor says of a command: {"id","ok",…}.
type reply struct {
	id  string
	ok  bool
	raw json.RawMessage // all of it, compact
}

// parseReply reads a reply. Keys count as they are spelled: encoding/json would take "OK" for "ok". The error is a telemetry.FieldError and
// repeats nothing of the payload.
func parseReply(payload []byte) (r reply, err error) {
	if len(payload) > MaxReplyBytes {
		return r, telemetry.Invalid("payload", "must be at most %d bytes", MaxReplyBytes)
	}
	var ok bool
	if r.raw, ok = compact(payload); !ok {
		return r, telemetry.Invalid("payload", "must be valid JSON")
	}
	var fields map[string]json.RawMessage
	if json.Unmarshal(r.raw, &fields) != nil || fields == nil {
		return r, telemetry.Invalid("payload", `must be an object: {"id":…,"ok":true}`)
	}
	var id *string
	if json.Unmarshal(fields["id"], &id) != nil || id == nil || *id == "" || len(*id) > maxIDBytes {
		return r, telemetry.Invalid("id", "must be the command's id")
	}
	r.id = *id
	switch string(fields["ok"]) {
	case "true":
		r.ok = true
	case "false":
	default:
		return r, telemetry.Invalid("ok", "must be true or false")
	}
	return r, nil
}

// state is what the reply makes of its command.
func (r *reply) state() State {
	if r.ok {
		return Answered
	}
	return Failed
}
