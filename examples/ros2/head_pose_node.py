"""ROS 2 node: publishes the head pose of `trg live` as PoseStamped and as a transform.

trg live 0 --send udp+json://127.0.0.1:5005 --frame ros
python3 head_pose_node.py --ros-args -p camera_frame:=camera_link
"""

import json
import socket

import rclpy
from geometry_msgs.msg import PoseStamped, TransformStamped
from rclpy.node import Node
from rclpy.time import Time
from scipy.spatial.transform import Rotation
from tf2_ros import TransformBroadcaster


class HeadPoseNode(Node):
    def __init__(self):
        super().__init__("head_pose")
        self.camera_frame = self.declare_parameter("camera_frame", "camera_link").value
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", self.declare_parameter("port", 5005).value))
        self.socket.setblocking(False)
        self.poses = self.create_publisher(PoseStamped, "head_pose", 10)
        self.transforms = TransformBroadcaster(self)
        self.create_timer(0.005, self.receive)

    def receive(self):
        try:
            record = json.loads(self.socket.recv(65535))
        except BlockingIOError:
            return
        pose, transform = PoseStamped(), TransformStamped()
        pose.header.frame_id = self.camera_frame
        pose.header.stamp = Time(nanoseconds=int(record["captured_unix_s"] * 1e9)).to_msg()
        transform.header = pose.header
        for face in record["faces"]:
            if face["live"]["is_seen"]:  # else the pose is held while the person is out of sight
                place, turn = pose.pose.position, pose.pose.orientation
                place.x, place.y, place.z = face["live"]["translation_m"]  # x forward, y left, z up
                turn.x, turn.y, turn.z, turn.w = Rotation.from_matrix(
                    face["live"]["rotation"]
                ).as_quat()
                self.poses.publish(pose)
                transform.child_frame_id = f"head_{face['id']}"
                move = transform.transform.translation
                move.x, move.y, move.z = place.x, place.y, place.z
                transform.transform.rotation = turn
                self.transforms.sendTransform(transform)


rclpy.init()
rclpy.spin(HeadPoseNode())
