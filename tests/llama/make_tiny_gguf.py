"""Writes a model that is tiny and means nothing, for a real llama.cpp server: make_tiny_gguf.py OUT.gguf

It has the llama architecture with random weights, the same ones each time. Its vocabulary is what a SentencePiece
model must have (unknown, begin, end, one token per byte) and some printable words, which it answers with.
"""

import sys

import gguf
import numpy

EMBEDDING = 64
BLOCKS = 2
QUERY_HEADS = 4
KEY_HEADS = 2
HEAD = EMBEDDING // QUERY_HEADS
FEED_FORWARD = 128
TRAINED_CONTEXT = 4096

WORDS = "a and answer backend drain engine for from hello is model of or proxy route stream the to token with"

# Jinja, as chat models carry it: each message after a line with its role.
CHAT_TEMPLATE = (
    "{{ bos_token }}"
    "{%- for message in messages -%}"
    "[{{ message['role'] }}] {{ message['content'] }}\n"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}[assistant] {%- endif -%}"
)


def tokens():
    """(text, score, type) of each token; the first three are <unk>, <s> and </s>."""
    kind = gguf.TokenType
    yield "<unk>", 0.0, kind.UNKNOWN
    yield "<s>", 0.0, kind.CONTROL
    yield "</s>", 0.0, kind.CONTROL
    for byte in range(256):
        yield f"<0x{byte:02X}>", 0.0, kind.BYTE
    space = "\u2581"  # SentencePiece writes a blank like this
    printable = [space] + [chr(code) for code in range(0x21, 0x7F)] + [space + word for word in WORDS.split()]
    for rank, text in enumerate(printable):
        yield text, -float(rank), kind.NORMAL


def weights(vocabulary, special):
    """(name, array) of each tensor. Output rows of special tokens are small, so that they are rarely chosen."""
    random = numpy.random.default_rng(20)

    def matrix(rows, columns):
        return random.normal(0.0, 0.5, (rows, columns)).astype(numpy.float32)

    ones = numpy.ones(EMBEDDING, numpy.float32)
    output = matrix(vocabulary, EMBEDDING)
    output[:special] *= 0.05
    yield "token_embd.weight", matrix(vocabulary, EMBEDDING)
    yield "output.weight", output
    yield "output_norm.weight", ones
    for block in range(BLOCKS):
        shapes = {
            "attn_q": (EMBEDDING, EMBEDDING),
            "attn_k": (KEY_HEADS * HEAD, EMBEDDING),
            "attn_v": (KEY_HEADS * HEAD, EMBEDDING),
            "attn_output": (EMBEDDING, EMBEDDING),
            "ffn_gate": (FEED_FORWARD, EMBEDDING),
            "ffn_up": (FEED_FORWARD, EMBEDDING),
            "ffn_down": (EMBEDDING, FEED_FORWARD),
        }
        yield f"blk.{block}.attn_norm.weight", ones
        yield f"blk.{block}.ffn_norm.weight", ones
        for name, (rows, columns) in shapes.items():
            yield f"blk.{block}.{name}.weight", matrix(rows, columns)


def write(path):
    texts, scores, kinds = zip(*tokens())
    out = gguf.GGUFWriter(path, "llama")
    out.add_name("tiny, random")
    out.add_file_type(gguf.LlamaFileType.ALL_F32)
    out.add_context_length(TRAINED_CONTEXT)
    out.add_embedding_length(EMBEDDING)
    out.add_block_count(BLOCKS)
    out.add_feed_forward_length(FEED_FORWARD)
    out.add_head_count(QUERY_HEADS)
    out.add_head_count_kv(KEY_HEADS)
    out.add_rope_dimension_count(HEAD)
    out.add_layer_norm_rms_eps(1e-5)
    out.add_vocab_size(len(texts))
    out.add_tokenizer_model("llama")
    out.add_tokenizer_pre("default")
    out.add_token_list([text.encode() for text in texts])
    out.add_token_scores(list(scores))
    out.add_token_types([int(kind) for kind in kinds])
    out.add_unk_token_id(0)
    out.add_bos_token_id(1)
    out.add_eos_token_id(2)
    out.add_add_bos_token(True)
    out.add_chat_template(CHAT_TEMPLATE)
    special = sum(kind != gguf.TokenType.NORMAL for kind in kinds)
    for name, array in weights(len(texts), special):
        out.add_tensor(name, array)
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: make_tiny_gguf.py OUT.gguf")
    write(sys.argv[1])
