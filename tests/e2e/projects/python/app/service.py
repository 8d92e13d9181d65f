"""A list of words over HTTP."""

import os

from flask import Flask, jsonify, request

app = Flask(__name__)
words = []


@app.get("/words")
def listed():
    return jsonify(words=words, user=os.getuid())


@app.post("/words")
def added():
    words.append(request.get_json()["word"])
    return jsonify(count=len(words)), 201
