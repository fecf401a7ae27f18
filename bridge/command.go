package bridge

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"sensorcast/auth"
	"sensorcast/command"
	"sensorcast/telemetry"
)

// Commander queues what viewers ask of sensors; *command.Outbox does.
type Commander interface {
	// Create asks the policy and returns once the command is durable.
	Create(ctx context.Context, p auth.Principal, d command.Draft) (command.Command, error)
}

// commandTimeout bounds how long a viewer's other messages wait for its command to be stored.
const commandTimeout = 10 * time.Second

// command queues {"type":"command","id","serial_no","name","data","expires_in"?} and acknowledges it once it is durable. Authority is judged
// now, not when the socket was opened, and a ticket for some sensors commands no others.
func (v *viewer) command(fields map[string]json.RawMessage, id []byte) {
	draft, err := draftOf(fields)
	if err == nil && fields["id"] != nil && id == nil {
		err = telemetry.Invalid("id", "must be a string or a number of at most %d bytes", maxIDBytes)
	}
	if err == nil && !v.session.hub.tickets.Live(v.session.principal) {
		err = telemetry.ErrUnauthenticated // the socket is about to be closed
	}
	if err == nil && !v.session.watches(draft.Serial) {
		err = telemetry.ErrNotFound
	}
	var queued command.Command
	if err == nil {
		ctx, cancel := context.WithTimeout(context.Background(), commandTimeout)
		defer cancel()
		queued, err = v.commands.Create(ctx, v.session.principal, draft)
	}
	if err != nil {
		code, message := v.session.hub.excuse(err)
		v.refuse(code, message, id)
		return
	}
	v.session.box.reply(commandAckFrame(id, queued.ID))
	v.session.sender.Wake()
}

// draftOf reads the fields of a command frame. A key it does not know is a mistake: what it was meant to do would be left undone.
func draftOf(fields map[string]json.RawMessage) (d command.Draft, err error) {
	for key, value := range fields {
		switch key {
		case "type", "id":
		case "serial_no":
			if json.Unmarshal(value, &d.Serial) != nil {
				return d, telemetry.Invalid(key, "must be a string")
			}
		case "name":
			if json.Unmarshal(value, &d.Name) != nil {
				return d, telemetry.Invalid(key, "must be a string")
			}
		case "data":
			d.Data = value
		case "expires_in":
			var seconds int64
			most := int64(command.MaxLife / time.Second)
			if json.Unmarshal(value, &seconds) != nil || seconds < 1 || seconds > most {
				return d, telemetry.Invalid(key, "must be a number of seconds from 1 to %d", most)
			}
			d.ExpiresIn = time.Duration(seconds) * time.Second
		default:
			return d, telemetry.Invalid("", `a command has no keys but "type", "id", "serial_no", "name", "data" and "expires_in"`)
		}
	}
	if d.Serial == "" {
		return d, telemetry.Invalid("serial_no", "must name the sensor")
	}
	return d, nil
}

// excuse words for the peer why a command was not taken. The text of a fault of ours goes to the log.
func (h *Hub) excuse(err error) (code, message string) {
	mistake, ok := errors.AsType[*telemetry.FieldError](err)
	switch {
	case ok && mistake.Field == "":
		return "invalid", mistake.Reason
	case ok:
		return "invalid", mistake.Error()
	case errors.Is(err, telemetry.ErrUnauthenticated):
		return "unauthenticated", "the session has ended"
	case errors.Is(err, telemetry.ErrNotFound):
		return "not_found", "this connection watches no sensor of that serial_no"
	case errors.Is(err, telemetry.ErrForbidden):
		return "forbidden", "the sensor may be watched, not commanded"
	case errors.Is(err, command.ErrFull):
		return "too_many", command.ErrFull.Error()
	case !errors.Is(err, telemetry.ErrUnavailable):
		h.log.Error("command not queued", "err", err)
	}
	return "unavailable", "the command could not be stored, send it again later"
}

// watches reports whether the session was opened for the sensor. One opened for all sensors of its owner is: whose they are the policy says.
func (s *session) watches(serial string) bool {
	if s.all {
		return true
	}
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	return slices.ContainsFunc(s.rooms, func(rm *room) bool { return rm.serial == serial })
}
