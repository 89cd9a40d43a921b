"""The official Anthropic client, through the proxy, against mock backends."""

import anthropic
import pytest

HELLO = [{"role": "user", "content": "hello"}]
VERSION = {"anthropic-version": "2023-06-01"}


def test_a_message_is_answered(anthropic_client, model_a):
    answer = anthropic_client.messages.create(model=model_a, max_tokens=3, messages=HELLO)
    assert answer.model == model_a
    assert answer.content[0].text == "tok0 tok1 tok2 "
    assert answer.stop_reason == "end_turn"


def test_a_stream_has_all_its_events_in_order(anthropic_client, model_b):
    stream = anthropic_client.messages.create(model=model_b, max_tokens=2, messages=HELLO, stream=True)
    assert [event.type for event in stream if event.type != "ping"] == [
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]


def test_a_stream_arrives_event_by_event(anthropic_client, model_a, arrivals, one_by_one):
    stream = anthropic_client.messages.create(
        model=model_a, max_tokens=99, messages=HELLO, stream=True, extra_query={"tokens": 10, "token_ms": 60}
    )
    texts = [at for at, event in arrivals(stream) if event.type == "content_block_delta"]
    assert len(texts) == 10
    one_by_one(texts, 0.06)


def test_the_stream_accumulates_to_a_message(anthropic_client, model_a):
    with anthropic_client.messages.stream(model=model_a, max_tokens=4, messages=HELLO) as stream:
        assert "".join(stream.text_stream) == "tok0 tok1 tok2 tok3 "
        assert stream.get_final_message().usage.output_tokens == 4


def test_tokens_are_counted(anthropic_client, model_b):
    assert anthropic_client.messages.count_tokens(model=model_b, messages=HELLO).input_tokens > 5


def test_models_are_listed_and_retrieved(anthropic_client, model_a, model_b):
    models = {model.id: model for model in anthropic_client.models.list()}
    assert {model_a, model_b} <= set(models)
    assert models[model_b].type == "model"
    assert models[model_b].display_name
    assert anthropic_client.models.retrieve(model_b).id == model_b


def test_an_unknown_model_is_not_found(anthropic_client):
    with pytest.raises(anthropic.NotFoundError) as caught:
        anthropic_client.messages.create(model="nobody/has-this", max_tokens=1, messages=HELLO)
    body = caught.value.body
    assert body["type"] == "error"
    assert body["error"]["type"] == "not_found_error"
    assert body["error"]["message"]
    assert caught.value.request_id
    assert body["request_id"] == caught.value.request_id


def test_a_request_without_a_model_is_refused_in_the_same_shape(http):
    for path, headers in [("/v1/messages", {}), ("/v1/messages/count_tokens", {}), ("/v1/other", VERSION)]:
        answer = http.post(path, json={"messages": HELLO}, headers=headers)
        assert answer.status_code == 400, path
        assert answer.json()["type"] == "error", path
        assert answer.json()["error"]["type"] == "invalid_request_error", path


def test_a_stream_that_breaks_off_is_an_exception(anthropic_client, model_a, breaks_off):
    stream = anthropic_client.messages.create(
        model=model_a, max_tokens=99, messages=HELLO, stream=True, extra_query={"tokens": 10, "cut_after": 3, "token_ms": 100}
    )
    kinds = [event.type for event in breaks_off(stream)]
    assert kinds.count("content_block_delta") == 3, "what came before the break is delivered"
