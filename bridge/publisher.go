package bridge

import (
	"encoding/json"
	"errors"

	"sensorcast/ingest"
	"sensorcast/telemetry"
)

// publisher takes the readings of a session that a sensor opened itself: {"id"?,"time"?,"data":{…}}, one reading in a message.
type publisher struct {
	session *session
	intake  Intake
}

func (p *publisher) message(text []byte) error {
	id, problem := envelopeID(text)
	if problem != nil {
		p.refuse(problem.code, problem.message, id)
		return nil
	}
	s := p.session
	ack := ackFrame(id)
	s.box.promise(len(ack))
	err := p.intake.Accept(ingest.Message{
		SensorID: s.principal.SensorID,
		Serial:   s.principal.Serial,
		Payload:  text,
		Via:      telemetry.ViaWebSocket,
	}, &receipt{session: s, id: id, ack: ack})
	switch {
	case err == nil:
		return nil
	case errors.Is(err, telemetry.ErrInvalid):
		s.box.settle(len(ack), errorFrame("malformed", err.Error(), "", id))
	default:
		s.box.settle(len(ack), unavailable(id))
	}
	s.sender.Wake()
	return nil
}

func (p *publisher) refuse(code, message string, id []byte) {
	p.session.box.reply(errorFrame(code, message, "", id))
	p.session.sender.Wake()
}

func unavailable(id []byte) []byte {
	return errorFrame("unavailable", "the reading could not be stored, send it again later", "", id)
}

// receipt acknowledges one reading once it is durable.
type receipt struct {
	session *session
	id, ack []byte
}

// Committed implements ingest.Receipt. It touches memory only.
func (r *receipt) Committed(err error) {
	answer := r.ack
	if err != nil {
		answer = unavailable(r.id)
	}
	r.session.box.settle(len(r.ack), answer)
	r.session.sender.Wake()
}

// complaint is why a message was not even handed to package ingest.
type complaint struct{ code, message string }

// envelopeID checks that a message is an envelope and nothing else, which package ingest would take for plain metrics, and returns its id.
func envelopeID(text []byte) (id []byte, c *complaint) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(text, &fields); err != nil || fields == nil {
		return nil, &complaint{"malformed", `a message is one JSON object: {"id","time","data":{…}}`}
	}
	id = plainID(fields["id"])
	if _, typed := fields["type"]; typed {
		return id, &complaint{"unknown_type", "a sensor's connection only takes readings"}
	}
	for key := range fields {
		if key != "id" && key != "time" && key != "data" {
			return id, &complaint{"malformed", `a message has no keys but "id", "time" and "data"; metrics belong into "data"`}
		}
	}
	if data := fields["data"]; len(data) == 0 || data[0] != '{' {
		return id, &complaint{"malformed", `"data" must be an object of metrics`}
	}
	return id, nil
}
